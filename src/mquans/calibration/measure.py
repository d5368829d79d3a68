"""Plans measured: the integer engine over frames, with temporal state, beside the dense network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mquans.baselines import open_engine
from mquans.engine.session import Session
from mquans.evaluate import Agreement, AgreementMeter, Feeds, Work
from mquans.evaluate.metrics import AnyMetric, new_meter
from mquans.graph import Graph
from mquans.importers import ModelFile
from mquans.plan import NetworkOptions, Plan

Outputs = Mapping[str, npt.NDArray[np.float32]]


PART = 16
"""Frames of a stretch that is also looked at alone."""


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
        moving: of all frames but the first of each segment, which is computed whole.
        task: loss by the user's metric; None without one.
        parts: 95th percentiles over shorter stretches, against the variance within each: how much
            the loss differs between segments of the stream. Empty for short ones and with a metric.
    """

    work: Work
    agreement: Agreement
    task: float | None = None
    moving: Work = field(default_factory=Work)
    parts: tuple[float, ...] = ()

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
    """Measures plans of one network. Dense outputs are computed once per segment."""

    def __init__(
        self, model: ModelFile, graph: Graph, *, metric: AnyMetric | None = None, threads: int = 1
    ) -> None:
        shapes = {name: graph.shape(name) for name in graph.inputs}
        self._model, self._metric, self._threads = model, metric, threads
        self._session: Session | None = None
        self._dense = open_engine("ort-fp32", model, NetworkOptions(shapes), threads=threads)

    def measure(self, plan: Plan, segments: Sequence[Segment]) -> Measured:
        """Runs a plan over segments, each from a first frame on."""
        # The model is read once, for the first plan.
        session = (
            self._session.with_plan(plan)
            if self._session
            else Session(self._model, plan, threads=self._threads)
        )
        self._session = session
        meter, work, moving = AgreementMeter(), Work(), Work()
        parts: list[AgreementMeter] = []
        task = None if self._metric is None else new_meter(self._metric)
        for segment in segments:
            with session.stream() as stream:
                for index, dense in enumerate(self._dense_outputs(segment)):
                    found = stream.step(segment.frames[index])
                    meter.add(dense, found)
                    if index % PART == 0 and len(segment.frames) - index >= PART:
                        parts.append(AgreementMeter())
                    if parts and len(segment.frames) >= PART:
                        parts[-1].add(dense, found)
                    if task is not None:
                        task.add(found, dense, segment.labels[index])
                    stats = stream.stats
                    work.add(stats)
                    if index:
                        moving.add(stats)
        return Measured(
            work,
            meter.result(),
            None if task is None else float(task.result()),
            moving,
            tuple(part.result().loss_p95 for part in parts) if task is None else (),
        )

    def frozen_loss(self, segments: Sequence[Segment]) -> float:
        """What outputs held at each segment's first frame would lose."""
        meter = AgreementMeter()
        task = None if self._metric is None else new_meter(self._metric)
        for segment in segments:
            outputs = self._dense_outputs(segment)
            for dense, label in zip(outputs, segment.labels, strict=True):
                meter.add(dense, outputs[0])
                if task is not None:
                    task.add(outputs[0], dense, label)
        return meter.result().loss_p95 if task is None else float(task.result())

    def _dense_outputs(self, segment: Segment) -> Sequence[Outputs]:
        missing = segment.frames[len(segment.dense) :]
        segment.dense.extend(self._dense.step(feeds) for feeds in missing)
        return segment.dense
