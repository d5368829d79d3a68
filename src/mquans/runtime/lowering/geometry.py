"""Index tables of windowed and resampled axes: which inputs each output reads."""

from __future__ import annotations

from functools import reduce

import numpy as np
import numpy.typing as npt

from mquans.graph import Conv, ConvTranspose, Resize, axis_taps
from mquans.runtime.lowering import layout
from mquans.runtime.lowering.layout import Dims

Grid = npt.NDArray[np.int32]
"""[outputs, taps]: input index that an output reads through a tap, -1 on padding."""


def conv_grid(
    inputs: int, outputs: int, *, taps: int, stride: int, pad: int, dilation: int
) -> Grid:
    """Grid of one axis of a convolution."""
    output, tap = np.arange(outputs)[:, None], np.arange(taps)[None, :]
    index = output * stride - pad + tap * dilation
    return np.where((index >= 0) & (index < inputs), index, -1).astype(np.int32)


def transposed_grid(
    inputs: int, outputs: int, *, taps: int, stride: int, pad: int, dilation: int
) -> Grid:
    """Grid of one axis of a transposed convolution."""
    output, tap = np.arange(outputs)[:, None], np.arange(taps)[None, :]
    scaled = output + pad - tap * dilation
    index = scaled // stride
    inside = (scaled % stride == 0) & (index >= 0) & (index < inputs)
    return np.where(inside, index, -1).astype(np.int32)


def combine(outer: Grid, inner: Grid, inner_inputs: int) -> Grid:
    """Grid over two flattened axes, the inner one varying fastest."""
    index = outer[:, None, :, None] * inner_inputs + inner[None, :, None, :]
    inside = (outer >= 0)[:, None, :, None] & (inner >= 0)[None, :, None, :]
    outputs, taps = outer.shape[0] * inner.shape[0], outer.shape[1] * inner.shape[1]
    return np.where(inside, index, -1).astype(np.int32).reshape(outputs, taps)


def layer_grids(
    op: Conv | ConvTranspose, inputs: tuple[int, ...], outputs: tuple[int, ...]
) -> tuple[Grid, Grid]:
    """(rows, columns) grids of a convolution from [B, C, space...] to [B, O, space...].

    Rows are the batch and all spatial axes but the last, flattened.
    """
    build = conv_grid if isinstance(op, Conv) else transposed_grid
    axes = [
        build(
            inputs[2 + i],
            outputs[2 + i],
            taps=op.kernel[i],
            stride=op.strides[i],
            pad=op.pads[i],
            dilation=op.dilations[i],
        )
        for i in range(len(op.kernel))
    ]
    batch = np.arange(inputs[0], dtype=np.int32)[:, None]
    rows = reduce(
        lambda outer, pair: combine(outer, pair[0], pair[1]),
        zip(axes[:-1], inputs[2:-1], strict=True),
        batch,
    )
    return np.ascontiguousarray(rows), np.ascontiguousarray(axes[-1])


def pointwise_grids(shape: Dims) -> tuple[Grid, Grid]:
    """Rows and columns of a layer whose outputs read the pixel at their own place."""
    rows, width, _ = layout.pixels(shape)
    return (
        np.arange(rows, dtype=np.int32)[:, None],
        np.arange(width, dtype=np.int32)[:, None],
    )


def natural_weight(weight: npt.NDArray[np.float64], groups: int) -> npt.NDArray[np.float64]:
    """Weights of a ConvTranspose as a Conv has them: [C, O/groups, kernel...] ->
    [O, C/groups, kernel...]."""
    channels, per_group, *kernel = weight.shape
    split = weight.reshape(groups, channels // groups, per_group, *kernel)
    return split.swapaxes(1, 2).reshape(groups * per_group, channels // groups, *kernel)


AxisTable = tuple[list[int], list[int], list[float]]
"""(begin, input, weight): output i is the weighted sum of entries begin[i] to begin[i+1]."""


def resize_table(op: Resize, axis: int, inputs: int) -> AxisTable:
    """Taps of one axis of a Resize without zero weights; all empty when the axis is only copied."""
    if op.sizes[axis] == inputs and op.scales[axis] == 1.0:
        return [], [], []
    indices, weights = axis_taps(op, axis, inputs)
    begin, index, weight = [0], list[int](), list[float]()
    for sources, shares in zip(indices, weights, strict=True):
        merged: dict[int, float] = {}
        for source, share in zip(sources.tolist(), shares.tolist(), strict=True):
            merged[source] = merged.get(source, 0.0) + share
        for source, share in sorted(merged.items()):
            if share != 0.0:
                index.append(source)
                weight.append(share)
        begin.append(len(index))
    return begin, index, weight
