"""A reuse layer as work: which output positions each of its inputs reaches, and what that costs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mquans.graph import GATES, Conv, ConvTranspose, Graph, Linear, Node, Recurrence
from mquans.runtime.lowering.geometry import Grid, layer_grids
from mquans.runtime.lowering.layout import pixels

Counts = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

BLOCK = 16
"""Neighbouring input channels that accelerators with adder trees take at once."""


@dataclass(frozen=True, slots=True)
class LayerShape:
    """Sizes of one reuse layer; all of it follows from the network alone.

    Inputs lie as pixels of channels, [rows, width, channels]; rows are the batch and all spatial
    axes but the last, or time steps, whose width is the batch. In every output position that an
    input reaches it meets one *weight row*: its weights to the `row` outputs there.

    Attributes:
        operator: conv, conv_transpose, linear or recurrence.
        row: outputs per position and group.
        taps: weight rows of a channel, that is positions of the kernel.
        steps: time steps in a frame, each compared with the one before; 1 for all other layers.
        positions: output positions per frame.
        outputs: output values per frame; of recurrent layers sums before the gates.
        weights: number of weights.
        reach: [classes], growing: numbers of positions that an input can reach.
        reached: [classes], inputs per frame of each class.
        blocks: [classes], blocks of `BLOCK` channels per frame of each class.
        row_passes: per frame, pairs of a channel's row of inputs and a kernel row that meets it.
        row_macs: multiplications of a row pass per output channel.
        kernel_rows, output_width: kernel positions in all axes but the last; columns of the output.
    """

    name: str
    operator: str
    rows: int
    width: int
    channels: int
    groups: int
    row: int
    taps: int
    steps: int
    positions: int
    outputs: int
    weights: int
    reach: tuple[int, ...]
    reached: tuple[int, ...]
    blocks: tuple[int, ...]
    row_passes: int
    row_macs: int
    kernel_rows: int
    output_width: int

    @property
    def inputs(self) -> int:
        """Input values per frame."""
        return self.rows * self.width * self.channels

    @property
    def output_rows(self) -> int:
        """Rows of the output per frame."""
        return self.positions // self.output_width

    @property
    def macs(self) -> int:
        """Multiplications of a dense frame; taps on padding are not counted."""
        return self.row * int(np.dot(self.reach, self.reached))

    @property
    def padded_macs(self) -> int:
        """Multiplications of a dense frame with taps on padding."""
        if self.operator != "conv":
            return self.macs
        return self.positions * self.taps * self.channels * self.row

    @property
    def weight_rows(self) -> int:
        """Weight rows of the layer."""
        return self.weights // self.row


@dataclass(frozen=True, slots=True)
class Geometry:
    """A layer's shape and the tables that changes are counted with.

    Attributes:
        class_of: [parts, rows, width], the class of reach of every input. Channels fall into equal
            parts; only a gru that resets before its product has two (h, and the reset h).
        row_grid, col_grid: [outputs, taps], the input row and column read through a tap, or -1.
        row_taps: [rows], kernel rows that meet an input row.
    """

    shape: LayerShape
    class_of: npt.NDArray[np.intp]
    row_grid: Grid
    col_grid: Grid
    row_taps: Counts

    @property
    def one_kind(self) -> npt.NDArray[np.float32]:
        """`kinds` where all channels are alike."""
        return np.ones((self.shape.channels, 1), np.float32)

    def by_class(self, mask: Mask, kinds: npt.NDArray[np.float32]) -> Counts:
        """How many of a mask [rows, width, channels] are set, [kinds, classes].

        Args:
            kinds: [channels, kinds], 1 where a channel is of a kind, else 0.
        """
        parts = zip(self._parts(mask), np.split(kinds, len(self.class_of)), strict=True)
        pixels = [part.astype(np.float32) @ kind for part, kind in parts]  # small whole numbers
        of_kind = (self._classified(p[..., k] for p in pixels) for k in range(kinds.shape[1]))
        return np.stack(list(of_kind))

    def blocks(self, mask: Mask) -> Counts:
        """Blocks of channels of which any is set, [classes]."""
        groups = self.shape.groups
        return self._classified(_blocks(part, groups) for part in self._parts(mask))

    def row_passes(self, mask: Mask) -> int:
        """Row passes over rows of channels of which any is set."""
        return int((mask.any(axis=1).sum(axis=1) * self.row_taps).sum())

    def reached(self, mask: Mask) -> Mask:
        """Output positions that something set reaches, [rows, columns, groups]."""
        of_group = np.any(mask.reshape(*mask.shape[:2], self.shape.groups, -1), axis=3)
        columns = _reached(np.swapaxes(of_group, 0, 1), self.col_grid)
        return _reached(np.swapaxes(columns, 0, 1), self.row_grid)

    def touched(self, mask: Mask, reached: Mask) -> int:
        """Outputs that something set reaches; `reached` is of the same mask."""
        shape = self.shape
        if shape.operator == "recurrence":
            reach = np.asarray(shape.reach)[self.class_of]
            parts = np.stack([part.any(axis=2) for part in self._parts(mask)])
            return int((parts * reach).sum()) * shape.row
        return int(reached.sum()) * shape.row

    def needed(self, reached: Mask) -> int:
        """Inputs that these output positions read."""
        shape = self.shape
        if shape.operator == "recurrence":
            return shape.inputs if reached.any() else 0
        columns = _read(np.swapaxes(reached, 0, 1), self.col_grid, shape.width)
        pixels = _read(np.swapaxes(columns, 0, 1), self.row_grid, shape.rows)
        return int(pixels.sum()) * (shape.channels // shape.groups)

    def _parts(self, mask: Mask) -> list[Mask]:
        return np.split(mask, len(self.class_of), axis=2)

    def _classified(self, counts: Iterable[npt.NDArray[Any]]) -> Counts:
        total = np.zeros(len(self.shape.reach), np.int64)
        for classes, count in zip(self.class_of, counts, strict=True):
            total += np.bincount(classes.ravel(), count.ravel(), len(total)).astype(np.int64)
        return total


def layer_geometry(graph: Graph, node: Node) -> Geometry:
    """The geometry of a reuse layer."""
    op, weight = node.op, graph.shape(node.inputs[1])
    channels, steps, groups = graph.neurons(node), 1, 1
    if isinstance(op, Recurrence):
        steps, width, _ = graph.shape(node.inputs[0])
        rows, row = steps, GATES[op.kind] * weight[0] // (3 if op.states > 1 else 1)
        row_grid, col_grid = _identity(rows), _identity(width)
    elif isinstance(op, Linear):
        rows, width, _ = pixels(graph.shape(node.inputs[0]))
        steps = rows * width // op.batch if op.batch else 1
        row_grid, col_grid, row = _identity(rows), _identity(width), weight[1]
    else:
        assert isinstance(op, Conv | ConvTranspose)
        shape, out = graph.shape(node.inputs[0]), graph.shape(node.outputs[0])
        row_grid, col_grid = layer_grids(op, shape, out)
        rows, width = int(np.prod((shape[0], *shape[2:-1]))), shape[-1]
        groups, row = op.groups, out[1] // op.groups
    row_taps, col_taps = _uses(row_grid, rows), _uses(col_grid, width)
    met = np.outer(row_taps, col_taps)[None]
    if isinstance(op, Recurrence) and op.states > 1:
        met = np.concatenate([2 * met, met])  # h meets the gates z and r, the reset h only one
    reach, class_of = np.unique(met, return_inverse=True)
    positions = len(row_grid) * len(col_grid)
    found = Geometry(
        LayerShape(
            name=node.name,
            operator=_OPERATORS[type(op)],
            rows=rows,
            width=width,
            channels=channels,
            groups=groups,
            row=row,
            taps=row_grid.shape[1] * col_grid.shape[1],
            steps=steps,
            positions=positions,
            outputs=positions * row * groups * (3 if len(met) > 1 else 1),
            weights=int(np.prod(weight)),
            reach=tuple(reach.tolist()),
            reached=(),
            blocks=(),
            row_passes=channels * int(row_taps.sum()),
            row_macs=int(col_taps.sum()),
            kernel_rows=row_grid.shape[1],
            output_width=len(col_grid),
        ),
        class_of.reshape(met.shape),
        row_grid,
        col_grid,
        row_taps,
    )
    every = np.ones((rows, width, channels), np.bool_)
    whole = replace(
        found.shape,
        reached=tuple(found.by_class(every, found.one_kind)[0].tolist()),
        blocks=tuple(found.blocks(every).tolist()),
    )
    return replace(found, shape=whole)


_OPERATORS = {
    Conv: "conv",
    ConvTranspose: "conv_transpose",
    Linear: "linear",
    Recurrence: "recurrence",
}


def _identity(count: int) -> Grid:
    return np.arange(count, dtype=np.int32)[:, None]


def _uses(grid: Grid, inputs: int) -> Counts:
    """How often a grid reads each input."""
    return np.bincount(grid[grid >= 0], minlength=inputs).astype(np.int64)


def _blocks(mask: Mask, groups: int) -> Counts:
    """Blocks of channels within groups of which any is set, [rows, width]."""
    rows, width, channels = mask.shape
    per_group = channels // groups
    if per_group == 1:
        return np.asarray(mask.sum(axis=2), np.int64)
    starts = np.arange(0, per_group, BLOCK)
    split = mask.reshape(rows, width, groups, per_group)
    return np.asarray(np.logical_or.reduceat(split, starts, axis=3).sum(axis=(2, 3)), np.int64)


def _reached(mask: Mask, grid: Grid) -> Mask:
    """Outputs of the first axis that read anything set, [outputs, ...]."""
    padded = np.concatenate([mask, np.zeros((1, *mask.shape[1:]), np.bool_)])
    result = padded[grid[:, 0]]
    for tap in range(1, grid.shape[1]):
        result |= padded[grid[:, tap]]
    return result


def _read(mask: Mask, grid: Grid, inputs: int) -> Mask:
    """Inputs of the first axis that any of these outputs reads, [inputs, ...]."""
    result = np.zeros((inputs + 1, *mask.shape[1:]), np.bool_)
    for tap in range(grid.shape[1]):  # no two outputs read the same input through the same tap
        result[grid[:, tap]] |= mask
    return result[:inputs]
