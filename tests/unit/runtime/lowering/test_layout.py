"""Where axes lie in memory: a mistake would read a transposed picture."""

from __future__ import annotations

import itertools
from math import prod

import numpy as np
import pytest

from mquans.runtime.lowering import layout
from mquans.runtime.lowering.layout import Placed

SHAPES = [(), (5,), (2, 3), (1, 3, 4), (2, 3, 4), (2, 1, 3, 4), (2, 3, 1, 2, 4)]


def orders(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    return list(itertools.permutations(range(len(shape))))


@pytest.mark.parametrize("shape", SHAPES)
def test_row_offsets_find_every_element(shape: tuple[int, ...]) -> None:
    """Graph inputs and outputs are copied by them."""
    values = np.arange(prod(shape)).reshape(shape)
    for order in orders(shape):
        placed = Placed(0, order, layout.apply(order, shape))
        assert placed.shape == shape
        rows, width, channels = layout.pixels(placed.dims)
        offsets, x_step, c_step = layout.row_offsets(placed)
        assert len(offsets) == rows
        index = (
            np.array(offsets)[:, None, None]
            + np.arange(width)[:, None] * x_step
            + np.arange(channels) * c_step
        )
        memory = values.transpose(order).reshape(rows, width, channels)
        np.testing.assert_array_equal(values.reshape(-1)[index], memory)


def memory(shape: tuple[int, ...], order: tuple[int, ...]) -> list[int]:
    return list(np.arange(prod(shape)).reshape(shape).transpose(order).flat)


@pytest.mark.parametrize("shape", SHAPES)
def test_same_memory_is_just_that(shape: tuple[int, ...]) -> None:
    for a, b in itertools.product(orders(shape), repeat=2):
        assert layout.same_memory(a, b, shape) == (memory(shape, a) == memory(shape, b))


@pytest.mark.parametrize(
    ("shape", "target"),
    [
        ((1, 3, 4), (3, 4)), ((2, 3, 4), (2, 3, 1, 4)), ((2, 3, 1, 1), (2, 3)), ((1, 1), ()),
        ((2, 3, 4), (2, 3, 4)), ((3, 4), (1, 3, 1, 4, 1)),
    ],
)  # fmt: skip
def test_reshapes_that_only_move_ones_keep_the_memory(
    shape: tuple[int, ...], target: tuple[int, ...]
) -> None:
    for order in orders(shape):
        found = layout.reshaped_order(order, shape, target)
        assert found is not None
        assert sorted(found) == list(range(len(target)))
        assert memory(target, found) == memory(shape, order)


@pytest.mark.parametrize("target", [(6, 4), (3, 2, 4), (2, 12), (24,)])
def test_other_reshapes_need_row_major_memory(target: tuple[int, ...]) -> None:
    assert layout.reshaped_order((0, 2, 1), (2, 3, 4), target) is None


def test_broadcasting_puts_ones_in_front() -> None:
    placed = layout.widened(Placed(7, (1, 0), (4, 3)), 4)
    assert placed == Placed(7, (0, 1, 3, 2), (1, 1, 4, 3))
    assert placed.shape == (1, 1, 3, 4)


def test_channels_lie_innermost() -> None:
    assert layout.channels_last(4) == (0, 2, 3, 1)
    assert layout.channels_last(3) == (0, 2, 1)
    assert layout.channels_last(2) == (0, 1)
    assert layout.pixels((2, 5, 6, 3)) == (10, 6, 3)
    assert layout.pixels((4,)) == (1, 1, 4)
