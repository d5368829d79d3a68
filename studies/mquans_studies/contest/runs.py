"""What a candidate does and costs on a part of a stream, frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import groupby

import numpy as np

from mquans import Session
from mquans.calibration import Bench, Segment
from mquans.metrics.meter import Outputs
from mquans.runtime.replay import replay
from mquans_studies.accelerators import (
    SCHEMES,
    Accelerator,
    LayerCost,
    Scheme,
    simulate,
    widened,
)
from mquans_studies.contest.cases import Case, Part
from mquans_studies.contest.choosing import Places, picked
from mquans_studies.contest.intervals import Draws, Sums
from mquans_studies.contest.scores import TaskMeter
from mquans_studies.traces.trace import Trace, TraceRecorder


@dataclass(frozen=True, slots=True)
class Run:
    """Of a candidate over a part, or of the dense network.

    Attributes:
        meter: errors of every frame.
        every: so-many-th frames are computed, dense where it is more than 1.
    """

    meter: TaskMeter
    every: int = 1


@dataclass(frozen=True, slots=True)
class Costs:
    """Cycles and energy [1 + draws] of a scheme on a design, and of the dense network there."""

    cycles: Sums
    energy: Sums
    dense_cycles: Sums
    dense_energy: Sums

    @classmethod
    def picked(cls, several: Sequence[Costs], places: Places) -> Costs:
        """Of each draw the costs of the candidate chosen in it."""
        return cls(
            *(
                picked([getattr(costs, field.name) for costs in several], places)
                for field in fields(cls)
            )
        )

    @property
    def speed(self) -> Sums:
        """Dense = 1."""
        return np.asarray(self.dense_cycles / self.cycles, np.float64)

    @property
    def saved(self) -> Sums:
        """Energy saved, a share of the dense network's."""
        return np.asarray(1 - self.energy / self.dense_energy, np.float64)


def run_plan(case: Case, session: Session, part: Part, *, memory: int = 0) -> tuple[Run, Trace]:
    """A plan over a part from its first frame on, and its trace at the published width.

    Args:
        memory: windows per layer, see `TraceRecorder`.
    """
    meter, recorder = case.task.meter(), TraceRecorder(session, memory=memory)
    segment = part.segment
    with session.stream() as stream:
        for done in replay(session, segment.frames, stream=stream, labels=segment.labels):
            outputs, _ = done.made
            recorder.add(stream, done.feeds)
            meter.add(outputs, outputs, done.label)
    trace = recorder.result()
    return Run(meter), trace if case.true_width is None else widened(trace, case.true_width)


def run_every(case: Case, part: Part, every: int) -> Run:
    """Dense outputs of every so-many-th frame, held until the next; 1 is the dense network."""
    meter = case.task.meter()
    dense: Sequence[Outputs] = part.segment.dense
    for frame, label in enumerate(part.segment.labels):
        held = dense[frame - frame % every]
        meter.add(held, held, label)
    return Run(meter, every=every)


def frozen_error(case: Case, part: Part) -> float:
    """Of outputs held from the first frame of every block on; of a whole sequence, from its first
    step on. What a network that does nothing is worth on this test."""
    bench = Bench(case.model, case.graph, metric=case.task.meter)
    segments = []
    begin = 0
    for _, block in groupby(part.blocks):
        frames = slice(begin, begin := begin + len(list(block)))
        whole = part.segment
        segments.append(Segment(whole.frames[frames], whole.labels[frames], whole.dense[frames]))
    return bench.frozen_loss(segments)


def errors(run: Run, draws: Draws, part: Part) -> Sums:
    """The error on a part, [1 + draws]."""
    found, counts = (
        draws.sums(np.array(values), part.blocks)
        for values in (run.meter.per_frame, run.meter.counts)
    )
    return run.meter.rate(found, counts)


def costs(
    run: Run,
    trace: Trace,
    draws: Draws,
    part: Part,
    design: Accelerator,
    scheme: Scheme = SCHEMES["reuse"],
    fallback: frozenset[str] = frozenset(),
) -> Costs:
    """Of a run on a design; first frames are left out.

    Args:
        trace: of the run, or, where it has none, any of the network.
        fallback: layers that are computed dense.
    """
    done = simulate(trace, design, scheme, fallback=fallback)
    moving = [block for block, moves in zip(part.blocks, trace.moving, strict=True) if moves]
    computed = np.flatnonzero(trace.moving) % run.every == 0
    layers = done.dense if run.every > 1 else done.layers
    return Costs(
        *(draws.sums(_per_frame(layers, what) * computed, moving) for what in ("cycles", "energy")),
        *(draws.sums(_per_frame(done.dense, what), moving) for what in ("cycles", "energy")),
    )


def _per_frame(layers: Sequence[LayerCost], what: str) -> Sums:
    return np.asarray(sum(getattr(layer, what) for layer in layers), np.float64)
