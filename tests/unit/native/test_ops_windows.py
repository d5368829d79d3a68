"""Pooling and resampling: the windows that a moved pixel reaches must all be computed again."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

native = pytest.importorskip("mquans._native")

QUICK = settings(max_examples=15, deadline=None, database=None, derandomize=True)


def pooled(x, kind, outputs, kernel, strides, begins, ends, dilations, include):
    """[N, space..., C] by the definition, in double."""
    y = np.empty((x.shape[0], *outputs, x.shape[-1]))
    for place in itertools.product(*map(range, outputs)):
        lists, places = [], 1
        for axis, i in enumerate(place):
            at = i * strides[axis] - begins[axis] + dilations[axis] * np.arange(kernel[axis])
            places *= np.sum(at < x.shape[axis + 1] + ends[axis])
            lists.append(at[(at >= 0) & (at < x.shape[axis + 1])])
        window = x[np.ix_(range(x.shape[0]), *lists)].reshape(x.shape[0], -1, x.shape[-1])
        count = places if include else window.shape[1]
        y[(slice(None), *place)] = window.max(1) if kind == "max" else window.sum(1) / count
    return y


@st.composite
def pools(draw):
    space = draw(st.integers(1, 3))
    kernel, strides, begins, ends, dilations, sizes, outputs = ([] for _ in range(7))
    for axis in range(space):
        k, d, s = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(1, 3))
        begin, end = draw(st.integers(0, k - 1)), draw(st.integers(0, k - 1))
        size = draw(st.sampled_from([5, 8, 67] if axis == space - 1 else [5, 6]))
        whole = (size + begin + end - d * (k - 1) - 1) // s + 1
        for values, value in zip(
            (kernel, strides, begins, ends, dilations, sizes, outputs),
            (k, s, begin, end, d, size, whole),
            strict=True,
        ):
            values.append(value)
    return sizes, outputs, kernel, strides, begins, ends, dilations


@pytest.mark.parametrize("kind", ["max", "average"])
@QUICK
@given(case=pools(), include=st.booleans(), channels=st.integers(1, 40), seed=st.integers(0, 99))
def test_pool(follow, kind, case, include, channels, seed):
    sizes, outputs, kernel, strides, begins, ends, dilations = case
    dims, y = (2, *sizes, channels), (2, *outputs, channels)
    for axis, k in enumerate(kernel):
        for i in range(outputs[axis]):
            at = i * strides[axis] - begins[axis] + dilations[axis] * np.arange(k)
            if not np.any((at >= 0) & (at < sizes[axis])):
                return  # ONNX does not define windows without input

    def add(program, name, x, out):
        native.add_pool(
            program, name, x, dims, ("max", "average").index(kind), kernel, strides, begins, ends,
            dilations, include, out, y,
        )  # fmt: skip

    def oracle(x):
        return pooled(x, kind, outputs, kernel, strides, begins, ends, dilations, include)

    follow([dims], y, add, oracle, seed=seed, tolerance=1e-6)


def test_average_over_a_ceil_mode_window_counts_only_the_padded_input(follow):
    """ceil_mode lets the last window hang over the padding: what hangs over is never counted."""
    dims, y = (1, 5, 5, 3), (1, 3, 3, 3)

    def add(program, name, x, out):
        native.add_pool(
            program, name, x, dims, 1, (2, 2), (2, 2), (0, 0), (0, 0), (1, 1), True, out, y
        )

    def oracle(x):
        return pooled(x, "average", (3, 3), (2, 2), (2, 2), (0, 0), (0, 0), (1, 1), True)

    follow([dims], y, add, oracle, tolerance=1e-6)


def table(matrix):
    """(begin, input, weight) of a dense [outputs, inputs] matrix."""
    begin, index, weight = [0], [], []
    for row in matrix:
        nonzero = np.flatnonzero(row)
        index += nonzero.tolist()
        weight += row[nonzero].tolist()
        begin.append(len(index))
    return begin, index, weight


def interpolation(rng, inputs, outputs, taps):
    """A random matrix with `taps` neighbouring inputs per output, in ascending order."""
    taps = min(taps, inputs)
    matrix = np.zeros((outputs, inputs), np.float32)
    for i in range(outputs):
        first = min(inputs - taps, i * inputs // outputs)
        matrix[i, first : first + taps] = 1 if taps == 1 else rng.uniform(0.1, 1, taps)
    return matrix


@pytest.mark.parametrize("taps", [1, 2, 4])
@pytest.mark.parametrize("axes", [(1, 2), (2,), (0, 1, 2), (1, 2, 3), (3,)])
def test_resize(follow, taps, axes):
    rng = np.random.default_rng(8)
    dims = (2, 5, 35, 6)
    sizes = {0: 3, 1: 9, 2: 70, 3: 11}
    y = tuple(sizes[axis] if axis in axes else size for axis, size in enumerate(dims))
    matrices = {axis: interpolation(rng, dims[axis], y[axis], taps) for axis in axes}
    tables = [table(matrices[axis]) if axis in axes else ([], [], []) for axis in range(4)]

    def add(program, name, x, out):
        native.add_resize(program, name, x, dims, tables, out, y)

    def oracle(x):
        for axis, matrix in matrices.items():
            x = np.moveaxis(np.tensordot(matrix.astype(np.float64), x, (1, axis)), 0, axis)
        return x

    follow([dims], y, add, oracle, tolerance=5e-6)


def test_shrinking_skips_pixels_that_nothing_reads():
    """A moved pixel between the samples of a shrinking nearest resize must not cause work."""
    program = native.Program("scalar", 1)
    x, y = program.add_tensor(1, 8, 2), program.add_tensor(1, 4, 2)
    every_other = ([0, 1, 2, 3, 4], [0, 2, 4, 6], [1.0] * 4)
    native.add_resize(program, "resize", x, (8, 2), [every_other, ([], [], [])], y, (4, 2))
    program.finish()
    stream = native.Stream(program)
    values = np.zeros((8, 2), np.float32)
    stream.write(x, values)
    stream.run(0, 1, True, False)
    values[3] = 1
    stream.write(x, values)
    stream.run(0, 1, False, False)
    assert not stream.mask_any(y)
