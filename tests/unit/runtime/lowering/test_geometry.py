"""Index tables: a wrong entry would move weights to other pixels without any error."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mquans.graph import Conv, ConvTranspose, Resize
from mquans.runtime.lowering.geometry import (
    combine,
    conv_grid,
    layer_grids,
    resize_table,
    transposed_grid,
)
from mquans.runtime.lowering.sites.geometry import CodeLayout, axes_of, phases_of

CASES = list(itertools.product((1, 4, 9), (1, 3, 4), (1, 2, 3), (0, 1, 5), (1, 2)))


@pytest.mark.parametrize(("inputs", "taps", "stride", "pad", "dilation"), CASES)
def test_an_output_reads_what_onnx_says(
    inputs: int, taps: int, stride: int, pad: int, dilation: int
) -> None:
    grid = conv_grid(inputs, 6, taps=taps, stride=stride, pad=pad, dilation=dilation)
    padded = [-1] * pad + list(range(inputs)) + [-1] * 99
    for output, tap in np.ndindex(6, taps):
        assert grid[output, tap] == padded[output * stride + tap * dilation]


@pytest.mark.parametrize(("inputs", "taps", "stride", "pad", "dilation"), CASES)
def test_a_transposed_convolution_writes_what_onnx_says(
    inputs: int, taps: int, stride: int, pad: int, dilation: int
) -> None:
    outputs = 8
    grid = transposed_grid(inputs, outputs, taps=taps, stride=stride, pad=pad, dilation=dilation)
    expected = np.full((outputs, taps), -1)
    for source, tap in np.ndindex(inputs, taps):
        output = source * stride + tap * dilation - pad
        if 0 <= output < outputs:
            expected[output, tap] = source
    np.testing.assert_array_equal(grid, expected)


def test_flattened_axes_are_padding_where_either_is() -> None:
    outer = np.array([[-1, 0], [0, 1]], np.int32)
    inner = np.array([[2, -1]], np.int32)
    np.testing.assert_array_equal(combine(outer, inner, 3), [[-1, -1, 2, -1], [2, -1, 5, -1]])


def test_images_of_a_batch_do_not_read_each_other() -> None:
    op = Conv((3, 3), (1, 1), (1, 1, 1, 1), (1, 1))
    rows, columns = layer_grids(op, (2, 1, 4, 5), (2, 1, 4, 5))
    assert rows.shape == (8, 3)
    assert columns.shape == (5, 3)
    np.testing.assert_array_equal(rows[3], [2, 3, -1])
    np.testing.assert_array_equal(rows[4], [-1, 4, 5])


def test_a_layer_over_one_axis_has_one_row_per_image() -> None:
    op = ConvTranspose((2,), (2,), (0, 0), (1,), (0,))
    rows, columns = layer_grids(op, (3, 1, 4), (3, 1, 8))
    np.testing.assert_array_equal(rows, [[0], [1], [2]])
    assert columns.shape == (8, 2)


def resize(**changes: object) -> Resize:
    kind = {
        "mode": "linear", "coordinates": "half_pixel", "rounding": "floor",
        "scales": (1.0, 1.0, 1.5), "sizes": (1, 2, 6),
    }  # fmt: skip
    return Resize(**kind | changes)  # type: ignore[arg-type]


def test_an_axis_that_keeps_its_size_is_copied() -> None:
    assert resize_table(resize(), 1, 2) == ([], [], [])


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_shares_of_an_output_add_up(mode: str) -> None:
    begin, inputs, weights = resize_table(resize(mode=mode), 2, 4)
    assert begin[0] == 0
    assert begin[-1] == len(inputs) == len(weights)
    for first, last in itertools.pairwise(begin):
        assert sum(weights[first:last]) == pytest.approx(1.0)
        # Each input once, in order, and no zero weights to multiply with.
        assert inputs[first:last] == sorted(set(inputs[first:last]))
        assert all(weights[first:last])
        assert 0 <= inputs[first] <= inputs[last - 1] < 4


@pytest.mark.parametrize(("dilation", "taps"), [(3, 9), (12, 9), (16, 1), (36, 1)])
def test_taps_that_meet_padding_alone_cost_neither_time_nor_a_border(
    dilation: int, taps: int
) -> None:
    conv = Conv((3, 3), (1, 1), (dilation,) * 4, (dilation,) * 2, groups=1)
    axes = axes_of(conv, (1, 8, 16, 16), (1, 8, 16, 16))
    border = tuple(axis.border() for axis in axes)
    (phase,) = phases_of(axes, CodeLayout((1, 16, 16), (0, *border), 0, 8))
    assert len(phase.taps) == taps
    assert phase.all_taps == 9
    assert border == (dilation, dilation) if taps > 1 else (0, 0)
