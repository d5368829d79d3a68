"""Steps that only move codes: concatenations, slices, gathers, padding, nearest resizing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mquans import _native
from mquans.graph import Gather, Node, Pad, Resize, Slice, axis_taps
from mquans.graph.rewrites.channel_selection import slices
from mquans.runtime.lowering.geometry import Grid, combine
from mquans.runtime.lowering.layout import Dims
from mquans.runtime.lowering.sites.arithmetic import Codes
from mquans.runtime.lowering.sites.geometry import reach_of
from mquans.runtime.lowering.sites.homes import sliced_from
from mquans.runtime.lowering.sites.placing import Coded

if TYPE_CHECKING:
    from mquans.runtime.lowering.program import Lowering

Indices = npt.NDArray[np.int32]
EMPTY = np.empty(0, np.int32)


def add_concat(low: Lowering, node: Node) -> None:
    """A concatenation of channels: parts that do not lie in it yet are copied."""
    sites, value = low.sites, node.outputs[0]
    parts = [sites.coded(low, part) for part in node.inputs]
    whole = sites.new(low, value, Codes.joined([part.codes for part in parts]))
    root, start = sites.root(value)
    tensors, first = [], 0
    for name, part in zip(node.inputs, parts, strict=True):
        channels = len(part.codes.exponents)
        if sites.root(name) == (root, start + first):
            tensors.append(part.tensor)
        else:
            tensors.append(int(_native.add_code_view(low.program, whole.tensor, first, channels)))
            reach = _native.Reach()
            reach.same = True
            _native.add_move_sites(
                low.program, f"{node.name} of {name}", part.tensor, tensors[-1], reach, EMPTY,
                EMPTY, EMPTY, np.zeros(channels, np.int16),
            )  # fmt: skip
        first += channels
    _native.add_join_sites(low.program, node.name, tensors, whole.tensor)


def add_move(low: Lowering, node: Node) -> None:
    """A node whose output sites and channels are copies of input ones, or a constant."""
    x = low.sites.coded(low, node.inputs[0])
    axis = x.order[-1]
    indices = [taken(node, low.graph.shape(node.inputs[0]), at) for at in x.order]
    codes = x.codes.take(indices[-1].tolist())
    y = low.sites.new(low, node.outputs[0], codes)
    if sliced_from(low.graph, node, axis) is not None:
        _native.add_join_sites(low.program, node.name, [x.tensor], y.tensor)
        return
    value = node.op.value if isinstance(node.op, Pad) else 0.0
    fill = np.clip(np.rint(value / codes.unit), -codes.limit, codes.limit).astype(np.int16)
    sites, channels = indices[:-1], indices[-1]
    same = [_is_same(index, size) for index, size in zip(indices, x.dims, strict=True)]
    reach, rows, columns = _native.Reach(), EMPTY, EMPTY
    if all(same[:-1]):
        reach.same = True
    else:
        grids = site_grids([index[:, None] for index in sites], x)
        rows, columns = grids[0][:, 0], grids[1][:, 0]
        set_reach(reach, *grids, x)
    _native.add_move_sites(
        low.program, node.name, x.tensor, y.tensor, reach, np.ascontiguousarray(rows),
        np.ascontiguousarray(columns), EMPTY if same[-1] else channels, fill,
    )  # fmt: skip


def taken(node: Node, shape: Dims, axis: int) -> Indices:
    """Input index of every output index along an axis; -1 on padding."""
    own = np.arange(shape[axis])
    match node.op:
        case Slice(starts=starts, stops=stops, steps=steps):
            own = own[slices(starts, stops, steps)[axis]]
        case Gather(axis=at, indices=indices) if at == axis:
            own = np.asarray(indices)
        case Pad(pads=pads, mode=mode):
            ends = (pads[axis], pads[axis + len(shape)])
            own = (
                np.pad(own, ends, constant_values=-1)
                if mode == "constant"
                else np.pad(own, ends, mode)
            )
        case Resize():
            own = axis_taps(node.op, axis, shape[axis])[0][:, 0]
    return own.astype(np.int32)


def site_grids(axes: list[Grid], x: Coded) -> tuple[Grid, Grid]:
    """Grids of rows and columns from those of the axes before the channels."""
    rows = np.zeros((1, 1), np.int32)
    for grid, size in zip(axes[:-1], x.dims[:-2], strict=True):
        rows = combine(rows, grid, size)
    return rows, axes[-1]


def set_reach(reach: object, rows: Grid, columns: Grid, x: Coded) -> None:
    """Which outputs the inputs of grids reach."""
    tables = reach_of(rows, columns, x.dims[-2])
    reach.windows(  # type: ignore[attr-defined]
        tables.row_begin, tables.row_input, tables.column_begin, tables.column_output
    )


def _is_same(index: Indices, size: int) -> bool:
    return np.array_equal(index, np.arange(size))


__all__ = ["add_concat", "add_move", "set_reach", "site_grids"]
