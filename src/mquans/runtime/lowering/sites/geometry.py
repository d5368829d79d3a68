"""Where the windows of convolutions lie among sites: offsets of rows, columns and taps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np
import numpy.typing as npt

from mquans.graph import Conv, ConvTranspose
from mquans.runtime.lowering.geometry import Grid, layer_grids
from mquans.runtime.lowering.layout import Dims

Offsets = npt.NDArray[np.int32]

LEAST_TILED = 12
"""Channels from which on the additions of a transform cost less than the products it saves."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One spatial axis of a convolution: output o reads, through tap k, input
    `origin(o) + shift(k)` where o belongs to the phase of k."""

    inputs: int
    outputs: int
    taps: int
    stride: int
    pad: int
    dilation: int
    transposed: bool

    @property
    def phases(self) -> int:
        """Classes of outputs that share their taps."""
        return min(self.stride, self.outputs) if self.transposed else 1

    def tap_shifts(self, phase: int) -> list[tuple[int, int]]:
        """(tap, input index beyond the origin) of the taps of a phase."""
        if not self.transposed:
            return [(tap, tap * self.dilation) for tap in range(self.taps)]
        offsets = [(tap, phase + self.pad - tap * self.dilation) for tap in range(self.taps)]
        return [(tap, at // self.stride) for tap, at in offsets if at % self.stride == 0]

    def inner_shifts(self, phase: int) -> list[tuple[int, int]]:
        """The same without taps that meet padding alone, as those of wide dilations do. Three
        neighbours stay together: tiles need them."""
        if not self.transposed and self.taps <= 3 and self.dilation == 1:
            return self.tap_shifts(phase)
        origins = self.origins(phase)[self.members(phase)]
        return [
            (tap, shift)
            for tap, shift in self.tap_shifts(phase)
            if ((origins + shift >= 0) & (origins + shift < self.inputs)).any()
        ]

    def origins(self, phase: int) -> npt.NDArray[np.int64]:
        """Input index of every output's origin; a phase's others hold garbage."""
        outputs = np.arange(self.outputs)
        if not self.transposed:
            return outputs * self.stride - self.pad
        return (outputs - phase) // self.stride

    def members(self, phase: int) -> npt.NDArray[np.bool_]:
        """Outputs of a phase."""
        return np.asarray(np.arange(self.outputs) % self.phases == phase)

    def border(self) -> int:
        """Inputs beyond either edge that windows reach."""
        reach = 0
        for phase in range(self.phases):
            shifts = [shift for _, shift in self.inner_shifts(phase)]
            origins = self.origins(phase)[self.members(phase)]
            if not shifts or not origins.size:
                continue
            first, last = origins.min() + min(shifts), origins.max() + max(shifts)
            reach = max(reach, -int(first), int(last) - (self.inputs - 1), -int(origins.min()))
        return reach


def axes_of(op: Conv | ConvTranspose, inputs: Dims, outputs: Dims) -> list[Axis]:
    """Spatial axes of a convolution from [B, C, space...] to [B, O, space...]."""
    return [
        Axis(
            inputs[2 + i], outputs[2 + i], op.kernel[i], op.strides[i], op.pads[i],
            op.dilations[i], isinstance(op, ConvTranspose),
        )
        for i in range(len(op.kernel))
    ]  # fmt: skip


def pays_by_tiles(op: object, inputs: int, outputs: int) -> bool:
    """Whether a layer of so many channels is faster by tiles of two by two outputs."""
    return (
        isinstance(op, Conv)
        and (op.kernel, op.strides, op.dilations, op.groups) == ((3, 3), (1, 1), (1, 1), 1)
        and min(inputs, outputs) >= LEAST_TILED
    )


@dataclass(frozen=True, slots=True)
class CodeLayout:
    """Where the sites of a tensor of codes lie.

    Attributes:
        dims: sizes of the axes before the channels, batch first.
        border: sites of zeros around each of them.
        first: elements to site 0.
        stride: elements between sites.
    """

    dims: Dims
    border: Dims
    first: int
    stride: int

    @property
    def pitches(self) -> list[int]:
        """Elements between neighbours along every axis."""
        pitches = [self.stride]
        for size, border in zip(self.dims[:0:-1], self.border[:0:-1], strict=True):
            pitches.append(pitches[-1] * (size + border))
        return pitches[::-1]


@dataclass(frozen=True, slots=True)
class Phase:
    """Output sites that share their taps.

    Attributes:
        rows, columns: elements from the tensor's data to each output row's and column's windows; -1
            for those of other phases.
        taps: index in the kernel of every tap that meets an input, and its offset in elements.
        all_taps: with those that do not.
    """

    rows: Offsets
    columns: Offsets
    taps: list[tuple[tuple[int, ...], int]]
    all_taps: int


def phases_of(axes: list[Axis], x: CodeLayout) -> Iterator[Phase]:
    """The phases of a convolution that reads a tensor of codes."""
    pitches = x.pitches[-len(axes) :]
    batch_pitch = x.pitches[0] if len(x.dims) > len(axes) else 0
    batch = x.dims[0] if len(x.dims) > len(axes) else 1
    for phase in product(*(range(axis.phases) for axis in axes)):
        at = [
            np.where(axis.members(p), axis.origins(p) * pitch, np.iinfo(np.int64).min // 8)
            for axis, p, pitch in zip(axes, phase, pitches, strict=True)
        ]
        rows = x.first + np.arange(batch) * batch_pitch
        for offsets in at[:-1]:
            rows = (rows[:, None] + offsets[None, :]).reshape(-1)
        # A window may begin before the tensor's first site, never before its memory.
        columns = at[-1]
        lowest = min(0, int(columns[columns > -(2**40)].min(initial=0)))
        taps = [
            (
                tuple(tap for tap, _ in taps),
                sum(s * p for (_, s), p in zip(taps, pitches, strict=True)),
            )
            for taps in product(
                *(axis.inner_shifts(p) for axis, p in zip(axes, phase, strict=True))
            )
        ]
        all_taps = prod(len(axis.tap_shifts(p)) for axis, p in zip(axes, phase, strict=True))
        yield Phase(_marked(rows + lowest), _marked(columns - lowest), taps, all_taps)


def _marked(offsets: npt.NDArray[np.int64]) -> Offsets:
    return np.where(offsets < 0, -1, offsets).astype(np.int32)


@dataclass(frozen=True, slots=True)
class ReachTables:
    """Of every output row the input rows that it reads, and of every input column the output
    columns that read it, as lists one after the other."""

    row_begin: Offsets
    row_input: Offsets
    column_begin: Offsets
    column_output: Offsets


def reach_of(rows: Grid, columns: Grid, width: int) -> ReachTables:
    """Tables from grids of inputs that outputs read, -1 on padding."""
    inside = rows >= 0
    row_begin = np.concatenate([[0], np.cumsum(inside.sum(axis=1))])
    outputs, _ = np.nonzero(columns >= 0)
    pairs = np.unique(np.stack([columns[columns >= 0], outputs], axis=1), axis=0)
    column_begin = np.searchsorted(pairs[:, 0], np.arange(width + 1))
    return ReachTables(
        row_begin.astype(np.int32),
        rows[inside].astype(np.int32),
        column_begin.astype(np.int32),
        np.ascontiguousarray(pairs[:, 1], np.int32),
    )


def conv_reach(op: Conv | ConvTranspose, inputs: Dims, outputs: Dims) -> ReachTables:
    """Which outputs of a convolution a changed input reaches."""
    rows, columns = layer_grids(op, inputs, outputs)
    return reach_of(rows, columns, inputs[-1])
