"""How well outputs agree with those of the dense fp32 network, over a clip.

Written `y` for the dense output, `z` for the one under test, `t` for the frame, `k` for a channel,
`p` for a position within it:

    loss[t]     mean over all channels k of
                mean_p (z - y)^2 / max(var_tp(y[k]), FLOOR * mean_k var_tp(y[k]))
    rel_sq[t]   mean over outputs of sum (z - y)^2 / max(sum y^2, FLOOR * mean_t sum y^2)
    unexplained mean over outputs of sum_t |z - y|^2 / sum_t |y - mean_t y|^2
    argmax      mean over frames and outputs of the share of positions whose largest channel is the
                same; for outputs of one channel, whether the largest position is

The variance is taken over positions and the whole clip, per channel, because one tensor often mixes
units: a detector's output holds pixel coordinates beside scores. Outputs are not stored: per frame
only one number per channel is kept. Source: design, section 4.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import numpy.typing as npt

from mquans.errors import MquansError
from mquans.metrics.variance import ChannelVariance

Array = npt.NDArray[np.floating]
Sums = npt.NDArray[np.float64]

FLOOR = 0.01
"""Least variance of a channel that counts, as a share of its output's mean channel; least energy of
a frame, as a share of the clip's mean frame. Keeps silent channels from deciding alone."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """See the module. All but `argmax` are 0 for equal outputs; `unexplained` is 1 for an output
    frozen at its mean, and None where the dense output itself never moves."""

    loss_mean: float
    loss_p95: float
    rel_sq_mean: float
    rel_sq_p95: float
    unexplained: float | None
    max_abs: float
    argmax: float

    def as_dict(self) -> dict[str, float | None]:
        """The stable keys of `--json`."""
        return asdict(self)


@dataclass(slots=True)
class _Output:
    """Running sums of one output; channels first, float64."""

    mean: Sums
    spread: float = 0.0
    channels: ChannelVariance = field(default_factory=ChannelVariance)
    errors: list[Sums] = field(default_factory=list)
    energies: list[float] = field(default_factory=list)
    squared_error: float = 0.0
    max_abs: float = 0.0
    argmax: float = 0.0


class AgreementMeter:
    """Takes pairs of outputs frame by frame; `result` may be asked for at any time.

    >>> meter = AgreementMeter()
    >>> for y in (0.0, 1.0):
    ...     meter.add({"y": np.full((1, 2), y)}, {"y": np.full((1, 2), y + 0.5)})
    >>> meter.result().loss_mean  # error 0.5 squared over a variance of 0.25
    1.0

    Args:
        names: outputs that count, maybe with the axes of their channels (`metrics.scored_axes`); by
            default all.
    """

    def __init__(self, names: Collection[str] | None = None) -> None:
        self.frames = 0
        self._names = names
        self._axes: Mapping[str, int | None] = names if isinstance(names, Mapping) else {}
        self._outputs: dict[str, _Output] = {}

    def add(self, dense: Mapping[str, Array], found: Mapping[str, Array]) -> None:
        """One frame: outputs of the dense network and those under test, by the same names."""
        self.frames += 1
        for name, array in dense.items():
            unwanted = self._names is not None and name not in self._names
            if unwanted or not np.size(array):
                continue
            axis = self._axes.get(name)
            y, z = channels_first(array, axis), channels_first(found[name], axis)
            if name not in self._outputs:
                self._outputs[name] = _Output(np.zeros_like(y))
            self._add(self._outputs[name], y, z)

    def result(self) -> Agreement:
        """Agreement over the frames so far.

        Raises:
            ValueError: there were none.
            MquansError: no output can be compared value by value.
        """
        if not self.frames:
            raise ValueError("no frame was compared")
        if not self._outputs:
            raise nothing_comparable()
        outputs = list(self._outputs.values())
        losses = np.concatenate([self._losses(out) for out in outputs], axis=1).mean(axis=1)
        rel_sq = np.mean([_relative(out) for out in outputs], axis=0)
        return Agreement(
            loss_mean=float(losses.mean()),
            loss_p95=float(np.percentile(losses, 95)),
            rel_sq_mean=float(rel_sq.mean()),
            rel_sq_p95=float(np.percentile(rel_sq, 95)),
            unexplained=_unexplained(outputs),
            max_abs=max(out.max_abs for out in outputs),
            argmax=float(np.mean([out.argmax / self.frames for out in outputs])),
        )

    def _add(self, out: _Output, y: Sums, z: Sums) -> None:
        difference = z - y
        out.errors.append(np.mean(difference**2, axis=1))
        squared = float((difference**2).sum())
        out.squared_error += squared
        out.energies.append(float((y**2).sum()))
        out.max_abs = max(out.max_abs, float(np.abs(difference).max(initial=0.0)))
        if len(y) > 1:
            out.argmax += float(np.mean(y.argmax(axis=0) == z.argmax(axis=0)))
        else:
            out.argmax += float(y.argmax() == z.argmax())
        # Welford over time, per element.
        step = y - out.mean
        out.mean += step / self.frames
        out.spread += float((step * (y - out.mean)).sum())
        out.channels.add(y)

    def _losses(self, out: _Output) -> Sums:
        """Loss per frame and channel."""
        return relative(np.stack(out.errors), out.channels.floored(FLOOR))


def nothing_comparable() -> MquansError:
    """Of a network whose outputs all differ in shape from frame to frame, with no inner values."""
    return MquansError(
        "no output has one shape in all frames, nor has anything that the engine computes in front "
        "of them, so there is nothing to compare value by value.",
        hint="Export the network without what picks a number of results, such as non-maximum "
        "suppression, and do that on its outputs.",
    )


def channels_first(array: Array, axis: int | None = None) -> Sums:
    """An output as float64 [channels, positions].

    Args:
        axis: of the channels; by default `channel_axis`.
    """
    values = np.asarray(array, dtype=np.float64)
    axis = channel_axis(values.shape) if axis is None else axis
    if axis is None:
        return values.reshape(1, -1)
    return np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)


def channel_axis(shape: Sequence[int]) -> int | None:
    """Axis of an output's channels, where nothing but its shape is known: axis 1; of three axes, as
    in detectors' [1, boxes, values] or [1, values, boxes], the shorter one. None for values without
    a batch axis: one channel."""
    if len(shape) < 2:
        return None
    return 2 if len(shape) == 3 and shape[2] < shape[1] else 1


def _relative(out: _Output) -> Sums:
    energies = np.array(out.energies)
    floored = np.maximum(energies, FLOOR * energies.mean())
    errors = np.stack(out.errors).sum(axis=1) * out.mean.shape[1]
    return relative(errors, floored)


def _unexplained(outputs: list[_Output]) -> float | None:
    shares = []
    for out in outputs:
        if out.spread > 0:
            shares.append(out.squared_error / out.spread)
        elif out.squared_error > 0:
            return None
    return float(np.mean(shares)) if shares else None


def relative(errors: Sums, scale: Sums) -> Sums:
    """errors / scale, with 0 / 0 = 0: an output that is always 0 and agrees is no loss. Against a
    scale of 0 any error counts as a whole one. Shapes broadcast."""
    safe = np.where(scale > 0, scale, 1.0)
    return np.where(scale > 0, errors / safe, (errors > 0).astype(np.float64))
