"""Gradients of pools."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mquans.calibration.gradients.tape import Tape
from mquans.graph import Concat, ConvTranspose, Pool, Slice, window_span

Floats = npt.NDArray[np.float64]


def pool_gradient(tape: Tape, op: Pool, x: str, y: str, gradient: str) -> str:
    """Spreads the gradient of every window over its inputs: evenly for an average, over those that
    equal the largest for a maximum."""
    if op.kind == "average":
        return _average(tape, op, x, gradient)
    return _maximum(tape, op, x, y, gradient)


def _average(tape: Tape, op: Pool, x: str, gradient: str) -> str:
    _, channels, *space = tape.shape(x)
    windows = tape.shape(gradient)[2:]
    share = tape.mul(gradient, tape.constant(1.0 / _window_counts(op, space, windows)))
    ones = tape.constant(np.ones((channels, 1, *op.kernel)))
    return tape.fold(share, ones, _spread(op, channels), tuple(space))


def _maximum(tape: Tape, op: Pool, x: str, y: str, gradient: str) -> str:
    """Kernel tap by kernel tap: the mask of windows whose largest value lies there."""
    batch, channels, *space = tape.shape(x)
    windows = tape.shape(y)[2:]
    ends = []
    for i, size in enumerate(space):
        reach = (windows[i] - 1) * op.strides[i] + window_span(op.kernel[i], op.dilations[i])
        ends.append(max(reach - size - op.pads[i], 0))
    padded = tape.pad(x, (0, 0, *op.pads[: len(space)]), (0, 0, *ends), -np.inf)
    masks = []
    for tap in np.ndindex(*op.kernel):
        starts = [t * d for t, d in zip(tap, op.dilations, strict=True)]
        stops = [
            start + (count - 1) * step + 1
            for start, count, step in zip(starts, windows, op.strides, strict=True)
        ]
        taken = Slice((0, 0, *starts), (batch, channels, *stops), (1, 1, *op.strides))
        equal = tape.is_zero(tape.sub(tape.apply(taken, padded), y))
        masks.append(tape.reshape(equal, (batch, channels, 1, *windows)))
    mask = tape.apply(Concat(2), *masks)
    share = tape.div(
        tape.reshape(gradient, (batch, channels, 1, *windows)), tape.reduce("sum", mask, (2,))
    )
    taps = len(masks)
    columns = tape.reshape(tape.mul(mask, share), (batch, channels * taps, *windows))
    one_hot = np.tile(np.eye(taps), (channels, 1)).reshape(channels * taps, 1, *op.kernel)
    return tape.fold(columns, tape.constant(one_hot), _spread(op, channels), tuple(space))


def _window_counts(op: Pool, space: Sequence[int], windows: Sequence[int]) -> Floats:
    """Inputs that every window is an average over: [1, 1, windows...]."""
    counts = np.ones((1, 1))
    for i, size in enumerate(space):
        begin, end = (op.pads[i], op.pads[len(space) + i]) if op.count_include_pad else (0, 0)
        taps = np.arange(op.kernel[i]) * op.dilations[i] - op.pads[i]
        positions = np.arange(windows[i])[:, None] * op.strides[i] + taps
        inside = ((positions >= -begin) & (positions < size + end)).sum(axis=1)
        counts = counts[..., None] * inside
    return counts


def _spread(op: Pool, channels: int) -> ConvTranspose:
    """Each channel on its own from windows back to positions."""
    return ConvTranspose(
        op.kernel, op.strides, op.pads, op.dilations, (0,) * len(op.kernel), channels
    )
