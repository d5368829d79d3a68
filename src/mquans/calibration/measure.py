"""Plans measured: the integer engine over frames, with temporal state, beside the dense network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mquans.baselines import open_reference
from mquans.calibration.criticality import REST, WeightedError
from mquans.calibration.inputs import factor_of
from mquans.calibration.unrolling import time_steps
from mquans.evaluate import Work
from mquans.graph import Graph
from mquans.metrics import AnyMetric, MetricMeter, OutputWeights, new_meter
from mquans.metrics.agreement import Agreement, AgreementMeter
from mquans.metrics.scored import inner_values, scored_axes
from mquans.onnx import ModelFile
from mquans.plan import NetworkOptions, Plan
from mquans.runtime.replay import replay
from mquans.runtime.session import Session
from mquans.sources.frames import Feeds, numbered, resetting

Outputs = Mapping[str, npt.NDArray[np.float32]]


PART = 16
LONG_PART = 160
"""Frames of a stretch that is also looked at alone; of small ones, such as windows of sound, more:
within a pause nothing varies that an error could be measured by."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive frames of a stream; outputs of the dense network and labels, one each.

    Attributes:
        dense: filled in when the segment is first measured on.
        labels: None for frames without.
    """

    frames: Sequence[Feeds]
    labels: Sequence[Any]
    dense: list[Outputs] = field(default_factory=list)

    def until(self, count: int) -> Segment:
        """Its first frames."""
        return Segment(self.frames[:count], self.labels[:count], self.dense[:count])


@dataclass(frozen=True, slots=True)
class Measured:
    """What one plan costs and loses.

    Attributes:
        work: of all frames, first ones included.
        moving: of all frames but the first of each segment and recording, which is computed whole;
            of whole sequences, in which most steps follow others, of all.
        task: loss by the user's metric; None without one.
        parts: 95th percentiles over shorter stretches, against the variance within each: how much
            the loss differs between segments of the stream. Of a metric on sound the mean over the
            stretches: what one gains by chance, another may lose. Empty for short segments, and for
            metrics on pictures.
        inner_values: that `agreement` is of in place of outputs, see `metrics.scored`.
    """

    work: Work
    agreement: Agreement
    task: float | None = None
    moving: Work = field(default_factory=Work)
    parts: tuple[float, ...] = ()
    inner_values: tuple[str, ...] = ()

    @property
    def worst(self) -> float:
        """The largest loss of the whole and its parts."""
        return max(self.loss, *self.parts, 0.0)

    @property
    def loss(self) -> float:
        """What the budget applies to: the user's metric if there is one, else the 95th percentile
        over frames, since stale outputs hide in a mean."""
        return self.agreement.loss_p95 if self.task is None else self.task


class Bench:
    """Measures plans of one network. Dense outputs are computed once per segment.

    Args:
        options: how the model is run; without any, in the shapes of the graph.
        metric: the user's loss, of outputs; by default that of `metrics.agreement`, of the values
            of `metrics.scored`.
    """

    def __init__(
        self,
        model: ModelFile,
        graph: Graph,
        *,
        options: NetworkOptions | None = None,
        metric: AnyMetric | None = None,
        threads: int = 1,
    ) -> None:
        shapes = {name: graph.shape(name) for name in graph.inputs}
        options = replace(options or NetworkOptions(), input_shapes=shapes)
        self._model, self._threads = model, threads
        self.metric = metric
        self._session: Session | None = None
        self._dense = open_reference(model, graph, options, threads=threads)
        self.scored = scored_axes(graph, options.feedback)
        self.inner_values = inner_values(graph, options.feedback)
        self._steps = time_steps(graph)
        fed = {name: shape for name, shape in shapes.items() if name not in options.feedback}
        self.part = LONG_PART if factor_of(fed) > 1 else PART

    def session(self, plan: Plan) -> Session:
        """A session under a plan; the model is read once, for the first one."""
        if self._session is None:
            self._session = Session(self._model, plan, threads=self._threads)
        elif self._session.plan is not plan:
            self._session = self._session.with_plan(plan)
        return self._session

    def measure(
        self, plan: Plan, segments: Sequence[Segment], *, metric: AnyMetric | None = None
    ) -> Measured:
        """Runs a plan over segments, each from a first frame on.

        Args:
            metric: in place of the bench's own.
        """
        session = self.session(plan)
        losses, work, moving = _Losses(self, metric or self.metric), Work(), Work()
        for segment in segments:
            dense = self._dense_outputs(segment)
            with session.stream() as stream:
                for frame in replay(session, segment.frames, stream=stream):
                    outputs, stats = frame.made
                    found = outputs | stream.values(self.inner_values)
                    losses.add(segment, frame.index, dense[frame.index], found)
                    work.add(stats)
                    if not frame.first or self._steps > 1:
                        moving.add(stats)
        agreement = losses.whole.result()
        return Measured(work, agreement, losses.task, moving, losses.parts, self.inner_values)

    def mean_loss(
        self, plan: Plan, segments: Sequence[Segment], error_weights: OutputWeights | None = None
    ) -> float:
        """Mean loss over frames as criticality counts it.

        Args:
            error_weights: see `criticality`.
        """
        if error_weights is None:
            return self.measure(plan, segments).agreement.loss_mean
        measured = self.measure(plan, segments, metric=WeightedError(error_weights))
        return measured.loss + REST * measured.agreement.loss_mean

    def frozen_loss(self, segments: Sequence[Segment]) -> float:
        """What outputs held at each segment's first frame would lose; of whole sequences those held
        at the first step of each."""
        meter = AgreementMeter(self.scored)
        task = None if self.metric is None else new_meter(self.metric)
        for segment in segments:
            outputs = self._dense_outputs(segment)
            for (_, _, first), dense, label in zip(
                numbered(segment.frames), outputs, segment.labels, strict=True
            ):
                if first:
                    frozen = self._held(dense)
                meter.add(dense, frozen)
                if task is not None:
                    task.add(self.outputs(frozen), self.outputs(dense), label)
        return meter.result().loss_p95 if task is None else float(task.result())

    def outputs(self, values: Outputs) -> Outputs:
        """What metrics are handed: values that are outputs of the network."""
        return {name: a for name, a in values.items() if name not in self.inner_values}

    def _held(self, outputs: Outputs) -> Outputs:
        """Outputs of a sequence, all as at its first step."""
        if self._steps == 1:
            return outputs
        return {
            name: np.broadcast_to(a[:1], a.shape) if a.shape[:1] == (self._steps,) else a
            for name, a in outputs.items()
        }

    def _dense_outputs(self, segment: Segment) -> Sequence[Outputs]:
        if len(segment.dense) < len(segment.frames):
            segment.dense.clear()
            for feeds in resetting([self._dense], numbered(segment.frames)):
                segment.dense.append(self._dense.step(feeds))
        return segment.dense


class _Losses:
    """Losses over segments, and over stretches of those that are long enough."""

    def __init__(self, bench: Bench, metric: AnyMetric | None) -> None:
        self._bench = bench
        self._metric = metric
        self.whole = AgreementMeter(bench.scored)
        self._stretches: list[AgreementMeter] = []
        self._task = None if metric is None else new_meter(metric)
        self._task_stretches: list[MetricMeter] = []

    def add(self, segment: Segment, index: int, dense: Outputs, found: Outputs) -> None:
        bench, frames = self._bench, len(segment.frames)
        agreements, tasks = [self.whole], [] if self._task is None else [self._task]
        if frames >= bench.part:
            if index % bench.part == 0 and frames - index >= bench.part:
                self._stretches.append(AgreementMeter(bench.scored))
                if self._metric is not None:
                    self._task_stretches.append(new_meter(self._metric))
            agreements += self._stretches[-1:]
            tasks += self._task_stretches[-1:]
        for agreement in agreements:
            agreement.add(dense, found)
        for task in tasks:
            task.add(bench.outputs(found), bench.outputs(dense), segment.labels[index])

    @property
    def task(self) -> float | None:
        return None if self._task is None else float(self._task.result())

    @property
    def parts(self) -> tuple[float, ...]:
        """See `Measured.parts`."""
        if self._task is None:
            return tuple(meter.result().loss_p95 for meter in self._stretches)
        if self._bench.part == PART or not self._task_stretches:
            return ()
        return (float(np.mean([meter.result() for meter in self._task_stretches])),)
