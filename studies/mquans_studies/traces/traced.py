"""A clip through a stream and the dense network: activity and what it lost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mquans.baselines import open_reference
from mquans.errors import SourceError
from mquans.evaluate.progress import Track, silent
from mquans.metrics import AnyMetric, new_meter
from mquans.metrics.agreement import Agreement, AgreementMeter
from mquans.metrics.scored import inner_values, scored
from mquans.onnx import ModelFile
from mquans.runtime.replay import replay
from mquans.runtime.session import Session
from mquans.runtime.stream import Frame
from mquans.sources.frames import finite
from mquans_studies.traces.trace import Trace, TraceRecorder


@dataclass(frozen=True, slots=True)
class TracedRun:
    """What a run did, and what it is worth.

    Attributes:
        task_loss, dense_task_loss: by the metric, of this run and of the dense network; None
            without one. A metric that compares with dense outputs gives 0 for the latter.
    """

    trace: Trace
    agreement: Agreement
    task_loss: float | None
    dense_task_loss: float | None


def run_traced(
    session: Session,
    model: ModelFile,
    frames: Iterable[Frame],
    *,
    metric: AnyMetric | None = None,
    labels: Sequence[Any] | None = None,
    memory: int = 0,
    total: int | None = None,
    track: Track = silent,
) -> TracedRun:
    """Runs a clip through a new stream and through onnxruntime fp32.

    Frames with NaN or infinity are left out.

    Args:
        metric: of a task, see `metrics`.
        labels: one per frame.
        memory: windows per layer to look for repetitions in, see `TraceRecorder`.

    Raises:
        FrameError: a frame does not fit the network.
        MetricError: fewer labels than frames.
        SourceError: there are no usable frames.
    """
    names = scored(session.graph, session.plan.feedback)
    inner = inner_values(session.graph, session.plan.feedback)
    dense = open_reference(model, session.graph, session.plan.options, threads=session.threads)
    recorder = TraceRecorder(session, memory=memory)
    agreement = AgreementMeter(names)
    ours = theirs = None
    if metric is not None:
        ours, theirs = new_meter(metric), new_meter(metric)
    with session.stream() as stream:
        every = track(frames, "tracing", total)
        for done in replay(session, every, stream=stream, labels=labels if metric else None):
            if not finite(done.feeds):
                continue
            outputs, _ = done.made
            if done.first:
                dense.reset()
            reference = dense.step(done.feeds)
            recorder.add(stream, done.feeds)
            agreement.add(reference, outputs | stream.values(inner))
            reference = {name: reference[name] for name in outputs}
            if ours is not None and theirs is not None:
                ours.add(outputs, reference, done.label)
                theirs.add(reference, reference, done.label)
    if not agreement.frames:
        raise SourceError("there was no frame, or all held NaN or infinite values.")
    return TracedRun(
        trace=recorder.result(),
        agreement=agreement.result(),
        task_loss=None if ours is None else ours.result(),
        dense_task_loss=None if theirs is None else theirs.result(),
    )
