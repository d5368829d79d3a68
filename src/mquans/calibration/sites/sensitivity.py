"""Stage 2: what gates cost and save, measured, and their factors from it.

Gates of one resolution behind operators of one kind make a group with one factor: what single gates
do drowns in the noise of a few frames, and a dozen groups are measured in a tenth of the time. The
engine runs consecutive frames again and again, each time with every group's tolerance raised or
lowered by an octave as a two-level screening design says (Plackett and Burman 1946): each run then
tells something of every group, and as many runs as there are groups tell the slopes of loss and
work for all of them, with the others' influences cancelled out.

A group of factor f loses about `a f**2` and saves about `b log f`; the least loss for some work has
`f**2` proportional to `b / a`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mquans import _native
from mquans.calibration.criticality import REST
from mquans.calibration.criticality.loss import checked_weights
from mquans.calibration.measure import Outputs, Segment
from mquans.calibration.sites.gates import Gates
from mquans.calibration.sites.ranges import Reals
from mquans.evaluate import Track, silent
from mquans.graph import Conv
from mquans.metrics import OutputWeights
from mquans.metrics.agreement import FLOOR, channel_axis, channels_first
from mquans.metrics.variance import ChannelVariance
from mquans.runtime.lowering.sites.arithmetic import gate_of
from mquans.runtime.replay import replay
from mquans.runtime.session import Session

OCTAVES = 1.0
"""By which tolerances are raised and lowered."""

MOST = 2.0
"""log2 of the largest factor that slopes are believed for, and of the inverse of the smallest."""

FLOOR_SLOPE = 0.02
"""Least slopes that are believed, in mean ones: smaller ones are noise."""


STRENGTHS = (0.5, 1.0, 1.5)
SHIFTS = (-0.5, 0.5)
"""Octaves around the same tolerance at which factors are tried."""

Run = Callable[[Reals], tuple[float, float]]
"""(mean loss, share of MACs) at log2 of all groups' factors."""


@dataclass(frozen=True, slots=True)
class Slopes:
    """Growth per octave of a group's factor, [groups]: of the loss, and of the share of MACs."""

    loss: Reals
    work: Reals


def groups_of(gates: Gates, names: Sequence[str]) -> npt.NDArray[np.int64]:
    """Number of every gate's group, [gates]."""
    producers = gates.graph.producers()
    keys: dict[tuple[object, ...], int] = {}
    found = []
    for name in names:
        shape = gates.graph.shape(name)
        sites = math.prod(shape) // shape[gates.formats[name].axis]
        node = producers.get(name)
        op = None if node is None else node.op
        kind = (op.groups > 1, max(op.kernel) > 1) if isinstance(op, Conv) else ()
        found.append(keys.setdefault((sites, *kind), len(keys)))
    return np.array(found, np.int64)


def screening_design(factors: int) -> npt.NDArray[np.int8]:
    """Settings +1 and -1, [runs, factors], of runs from which every factor's effect follows without
    the others': columns are orthogonal, and each is balanced (Paley's construction)."""
    order = factors
    while order % 4 != 3 or any(order % d == 0 for d in range(3, math.isqrt(order) + 1, 2)):
        order += 1
    squares = {i * i % order for i in range(1, order)}
    first = np.array([1 if i in squares or i == 0 else -1 for i in range(order)], np.int8)
    rows = np.stack([np.roll(first, shift) for shift in range(order)])
    return np.vstack([rows, -np.ones((1, order), np.int8)])[:, :factors]


def measured_slopes(run: Run, groups: int, start: float = 0.0, track: Track = silent) -> Slopes:
    """Slopes around equal factors.

    Args:
        start: log2 of these.
    """
    design = screening_design(groups)
    rows = track(design, "measuring gates", len(design))
    found = np.array([run(start + OCTAVES * row) for row in rows])
    effects = design.T.astype(np.float64) @ (found - found.mean(axis=0)) / (len(design) * OCTAVES)
    return Slopes(effects[:, 0], effects[:, 1])


def best_factors(slopes: Slopes) -> Reals:
    """log2 of the factors that lose least for the work they leave, [groups], around 0."""
    loss, saved = (_believed(values) for values in (slopes.loss, -slopes.work))
    found = np.log2(saved / loss) / 2
    return np.clip(found - np.median(found), -MOST, MOST)


def as_far_as_they_help(run: Run, octaves: Reals, start: float = 0.0) -> Reals:
    """The factors, weakened or strengthened to lose least for the work of equal ones; equal ones
    where none loses less. Slopes are of few frames, and of one place.

    Args:
        octaves: log2 of factors, [groups].
        start: log2 of the equal factors to compare with.
    """
    equal = np.full(len(octaves), start)
    loss, work = run(equal)
    best, least = np.zeros(len(octaves)), loss
    for strength in STRENGTHS:
        factors = strength * octaves
        tries = [run(equal + factors + shift) for shift in SHIFTS]
        found = _at_work(tries, work)
        if found < least:
            best, least = factors, found
    return best


def _at_work(tries: Sequence[tuple[float, float]], work: float) -> float:
    """Loss for some work on the power law through two tries."""
    (low, most), (high, fewest) = tries
    if min(low, high, most, fewest, work) <= 0 or most <= fewest:
        return math.inf
    slope = math.log(high / low) / math.log(fewest / most)
    return float(low * (work / most) ** slope)


def _believed(slopes: Reals) -> Reals:
    mean = float(np.maximum(slopes, 0).mean()) or 1.0
    return np.maximum(slopes, FLOOR_SLOPE * mean)


class WeightedLoss:
    """Squared errors of outputs, weighted frame by frame, as criticality counts them:
    `error_weights` of a detector's metric and a little of `metrics.agreement`, or the latter
    alone."""

    def __init__(
        self,
        dense: Sequence[Outputs],
        scored: Collection[str],
        error_weights: OutputWeights | None,
    ) -> None:
        names = [name for name in scored if dense[0][name].dtype.kind == "f"]
        rest = _agreement_weights(dense, names, scored if isinstance(scored, Mapping) else {})
        share = 1.0 if error_weights is None else REST
        self._dense = dense
        self._weights: list[Mapping[str, npt.NDArray[np.float32]]] = []
        for outputs in dense:
            own = {} if error_weights is None else checked_weights(error_weights, outputs)
            self._weights.append(
                {
                    name: np.asarray(share * rest[name] + own.get(name, 0.0), np.float32)
                    for name in names
                }
            )

    def of(self, index: int, outputs: Outputs) -> float:
        """Loss of one frame."""
        total = 0.0
        for name, weight in self._weights[index].items():
            error = outputs[name] - self._dense[index][name]
            total += float((weight * error * error).sum())
        return total


def _agreement_weights(
    dense: Sequence[Outputs], names: Sequence[str], axes: Mapping[str, int | None]
) -> dict[str, Reals]:
    """What `metrics.agreement` weighs a squared error of every output with, to be broadcast."""
    variances = {name: ChannelVariance() for name in names}
    for outputs in dense:
        for name, variance in variances.items():
            variance.add(channels_first(outputs[name], axes.get(name)))
    floored = {name: variance.floored(FLOOR) for name, variance in variances.items()}
    channels = sum(len(scale) for scale in floored.values())
    found = {}
    for name, scale in floored.items():
        shape = dense[0][name].shape
        positions = max(math.prod(shape) // len(scale), 1)
        weight = 1 / (np.where(scale > 0, scale, 1.0) * channels * positions)
        axis = axes.get(name, channel_axis(shape))
        found[name] = weight.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    return found


class GateBench:
    """Runs frames under gates that move without weights being packed again.

    Args:
        session: of its own: its gates are changed.
        segments: with their dense outputs.
        inner_values: that losses are taken of in place of outputs.
    """

    def __init__(
        self,
        session: Session,
        gates: Gates,
        tolerance: float,
        segments: Sequence[Segment],
        losses: Sequence[WeightedLoss],
        inner_values: Sequence[str] = (),
    ) -> None:
        self._inner_values = inner_values
        self._session, self._gates, self._tolerance = session, gates, tolerance
        self._segments, self._losses = segments, losses
        # First frames pass all gates, whatever these are.
        self._started = [session.stream() for _ in segments]
        for stream, segment in zip(self._started, segments, strict=True):
            stream.step(segment.frames[0])
        placed = session.lowered.sites.values
        self._names = [name for name in gates.scales if name in placed]
        self._groups = groups_of(gates, self._names)

    @property
    def groups(self) -> int:
        """How many there are."""
        return int(self._groups.max(initial=-1)) + 1

    def factors(self, octaves: Reals) -> dict[str, float]:
        """By tensor, of groups' factors `2**octaves`."""
        return {
            name: float(2.0 ** octaves[group])
            for name, group in zip(self._names, self._groups, strict=True)
        }

    def run(self, octaves: Reals) -> tuple[float, float]:
        """(mean loss, share of MACs) with factors of `2**octaves`, first frames left out."""
        self._set(octaves)
        loss, done, total, frames = 0.0, 0, 0, 0
        for start, segment, losses in zip(self._started, self._segments, self._losses, strict=True):
            with start.clone() as stream:
                for frame in replay(self._session, segment.frames[1:], stream=stream):
                    outputs, stats = frame.made
                    if frame.first:
                        continue
                    found = outputs | stream.values(self._inner_values)
                    loss += losses.of(frame.index + 1, found)
                    done, total = done + stats.macs_done, total + stats.macs_total
                    frames += 1
        return loss / max(frames, 1), done / max(total, 1)

    def _set(self, octaves: Reals) -> None:
        program: Any = self._session.lowered.program
        sites = self._session.lowered.sites
        for name, factor in self.factors(octaves).items():
            coded = sites.values[name]
            plan = self._gates.gate(name, factor)
            together = sites.together.get(coded.tensor, 1)
            gate = gate_of(plan, self._tolerance, coded.codes, together)
            _native.set_gate(program, coded.tensor, gate)
