"""Steps whose output sites are made of windows: pools, means over axes, linear resizing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mquans import _native
from mquans.graph import Node, Pool, Reduce, Resize, axis_taps
from mquans.runtime.lowering.geometry import Grid, conv_grid
from mquans.runtime.lowering.sites.arithmetic import ONE, Codes, Reals, gate_of
from mquans.runtime.lowering.sites.moving import set_reach, site_grids
from mquans.runtime.lowering.sites.placing import Coded

if TYPE_CHECKING:
    from mquans.runtime.lowering.program import Lowering


@dataclass(frozen=True, slots=True)
class AxisWindow:
    """What outputs read along one axis.

    Attributes:
        grid: [outputs, taps].
        scale: [outputs] of a sum.
        weight: [outputs, taps] of its terms, None where all are 1.
    """

    grid: Grid
    scale: Reals
    weight: Reals | None = None


def add_pool(low: Lowering, node: Node, op: Pool) -> None:
    """Largest or mean of windows over the spatial axes."""
    x = low.sites.coded(low, node.inputs[0])
    inputs, outputs = low.graph.shape(node.inputs[0]), low.graph.shape(node.outputs[0])
    axes = [_pool_axis(op, at, inputs[2 + at], outputs[2 + at]) for at in range(len(op.kernel))]
    batch = _everything(inputs[0])
    _add(low, node, x, [batch, *axes], largest=op.kind == "max", inherits=op.kind == "max")


def add_reduce(low: Lowering, node: Node, op: Reduce) -> None:
    """Mean, sum or largest over whole axes."""
    x = low.sites.coded(low, node.inputs[0])
    axes = []
    for axis, size in zip(x.order[:-1], x.dims[:-1], strict=True):
        if axis not in op.axes:
            axes.append(_everything(size))
            continue
        scale = 1 / size if op.kind == "mean" else 1.0
        axes.append(AxisWindow(np.arange(size, dtype=np.int32)[None, :], np.array([scale])))
    _add(low, node, x, axes, largest=op.kind == "max", inherits=op.kind == "max")


def add_linear_resize(low: Lowering, node: Node, op: Resize) -> None:
    """Linear resampling with weights of fifteen bits."""
    x = low.sites.coded(low, node.inputs[0])
    axes = []
    for axis, size in zip(x.order[:-1], x.dims[:-1], strict=True):
        indices, weights = axis_taps(op, axis, size)
        # Sites of no weight need not be read.
        grid = np.where(weights > 0, indices, -1).astype(np.int32)
        axes.append(AxisWindow(grid, np.ones(len(grid)), weights))
    _add(low, node, x, axes, largest=False, inherits=True)


def _add(
    low: Lowering, node: Node, x: Coded, axes: list[AxisWindow], *, largest: bool, inherits: bool
) -> None:
    codes: Codes | None = x.codes if inherits else None
    y = low.sites.new(low, node.outputs[0], codes)
    rows, columns = site_grids([axis.grid for axis in axes], x)
    reach = _native.Reach()
    set_reach(reach, rows, columns, x)
    row_scale = reduce(np.multiply.outer, [axis.scale for axis in axes[:-1]], np.ones(1))
    column_scale = axes[-1].scale
    row_weight = column_weight = None
    if any(axis.weight is not None for axis in axes):
        row_weight = np.ones((1, 1))
        for axis in axes[:-1]:
            outer, inner = row_weight, _weights(axis)
            row_weight = (outer[:, None, :, None] * inner[None, :, None, :]).reshape(
                rows_of(outer, inner)
            )
        column_weight = _weights(axes[-1])
        column_scale = column_scale / ONE
    _native.add_window_sites(
        low.program, node.name, x.tensor, y.tensor, reach, largest,
        _native_axis(rows, row_scale.reshape(-1), row_weight),
        _native_axis(columns, column_scale, column_weight),
        (x.codes.unit / y.codes.unit).astype(np.float32), y.codes.limit,
        gate_of(None, 0.0, y.codes),
    )  # fmt: skip


def rows_of(outer: npt.NDArray[np.float64], inner: npt.NDArray[np.float64]) -> tuple[int, int]:
    """Shape of the table over two flattened axes."""
    return outer.shape[0] * inner.shape[0], outer.shape[1] * inner.shape[1]


def _native_axis(grid: Grid, scale: Reals, weight: Reals | None) -> Any:
    weights = np.empty(0, np.int32)
    if weight is not None:
        weights = np.rint(weight * ONE).astype(np.int32).reshape(-1)
    return _native.WindowAxis(
        np.ascontiguousarray(grid).reshape(-1), grid.shape[1], weights, scale.astype(np.float32)
    )


def _weights(axis: AxisWindow) -> Reals:
    return np.ones(axis.grid.shape) if axis.weight is None else axis.weight


def _everything(size: int) -> AxisWindow:
    return AxisWindow(np.arange(size, dtype=np.int32)[:, None], np.ones(size))


def _pool_axis(op: Pool, axis: int, inputs: int, outputs: int) -> AxisWindow:
    taps, stride, dilation = op.kernel[axis], op.strides[axis], op.dilations[axis]
    begin, end = op.pads[axis], op.pads[axis + len(op.kernel)]
    grid = conv_grid(inputs, outputs, taps=taps, stride=stride, pad=begin, dilation=dilation)
    if op.kind == "max":
        return AxisWindow(grid, np.ones(outputs))
    places = (grid >= 0).sum(axis=1)
    if op.count_include_pad:
        at = np.arange(outputs)[:, None] * stride - begin + np.arange(taps) * dilation
        places = (at < inputs + end).sum(axis=1)
    return AxisWindow(grid, 1 / places)
