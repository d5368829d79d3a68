"""Where the axes of a value lie in memory.

The engine keeps channels innermost: convolutions want (batch, space..., channels). A transpose is
then often only another way to read the same memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

Dims = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Placed:
    """A value in memory.

    Attributes:
        tensor: the native tensor.
        order: logical axis stored at each physical position, outermost first.
        dims: physical sizes, `dims[i] = shape[order[i]]`.
    """

    tensor: int
    order: Dims
    dims: Dims

    @property
    def shape(self) -> Dims:
        """Logical sizes."""
        sizes = [0] * len(self.order)
        for axis, size in zip(self.order, self.dims, strict=True):
            sizes[axis] = size
        return tuple(sizes)


def identity(rank: int) -> Dims:
    """The order of a row-major array."""
    return tuple(range(rank))


def channels_last(rank: int) -> Dims:
    """(batch, space..., channels) of an ONNX image tensor; row-major below rank 3."""
    return identity(rank) if rank < 3 else (0, *range(2, rank), 1)


def apply(order: Dims, shape: Dims) -> Dims:
    """Physical sizes of a shape stored in an order."""
    return tuple(shape[axis] for axis in order)


def pixels(dims: Dims) -> tuple[int, int, int]:
    """(rows, width, channels) as native tensors are described; missing axes are 1."""
    padded = (1, 1, *dims)
    return prod(padded[:-2]), padded[-2], padded[-1]


def same_memory(order: Dims, other: Dims, shape: Dims) -> bool:
    """True when two orders differ only in where axes of size 1 stand."""

    def real(axes: Dims) -> list[int]:
        return [axis for axis in axes if shape[axis] != 1]

    return real(order) == real(other)


def widened(placed: Placed, rank: int) -> Placed:
    """The same memory with axes of size 1 in front, as broadcasting reads it."""
    extra = rank - len(placed.order)
    order = (*range(extra), *(axis + extra for axis in placed.order))
    return Placed(placed.tensor, order, (1,) * extra + placed.dims)


def reshaped_order(order: Dims, shape: Dims, target: Dims) -> Dims | None:
    """Order of a reshaped value that shares memory with the original: the reshape adds or drops
    axes of size 1, and merges or splits axes that lie side by side in memory too; otherwise
    None."""
    groups = _matching_axes(shape, target)
    if groups is None:
        return None
    physical = [axis for axis in order if shape[axis] != 1]
    result = [axis for axis, size in enumerate(target) if size == 1]
    while physical:
        old, new = groups.get(physical[0], ((), ()))
        if not old or tuple(physical[: len(old)]) != old:
            return None
        result += new
        del physical[: len(old)]
    return tuple(result)


def _matching_axes(shape: Dims, target: Dims) -> dict[int, tuple[Dims, Dims]] | None:
    """The smallest runs of axes of equal product, those of size 1 left out: (old axes, new axes) by
    the first old axis; None where a size is 0."""
    old = [axis for axis, size in enumerate(shape) if size != 1]
    new = [axis for axis, size in enumerate(target) if size != 1]
    if 0 in shape or 0 in target:
        return None
    groups: dict[int, tuple[Dims, Dims]] = {}
    while old and new:
        left, right = 1, 1
        left_size, right_size = shape[old[0]], target[new[0]]
        while left_size != right_size:
            if left_size < right_size:
                left_size *= shape[old[left]]
                left += 1
            else:
                right_size *= target[new[right]]
                right += 1
        groups[old[0]] = tuple(old[:left]), tuple(new[:right])
        del old[:left], new[:right]
    return groups


def row_offsets(placed: Placed) -> tuple[list[int], int, int]:
    """How a row-major array of the logical shape maps onto the tensor: (offset of every row, step
    from pixel to pixel, step from channel to channel), in elements."""
    shape = placed.shape
    strides = [prod(shape[axis + 1 :]) for axis in range(len(shape))]
    steps = [strides[axis] for axis in placed.order]
    offsets = [0]
    for size, step in zip(placed.dims[:-2], steps[:-2], strict=True):
        offsets = [offset + i * step for offset in offsets for i in range(size)]
    x_step = steps[-2] if len(steps) > 1 else 0
    c_step = steps[-1] if steps else 0
    return offsets, x_step, c_step
