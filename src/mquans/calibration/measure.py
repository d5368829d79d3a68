"""Stage 3: candidates measured by running the integer engine over held-out frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mquans.baselines import open_engine
from mquans.engine.session import Session
from mquans.evaluate import Agreement, AgreementMeter, Feeds, Track, Work, silent
from mquans.importers import ModelFile


@dataclass(frozen=True, slots=True)
class Measured:
    """What one candidate costs and loses on held-out frames."""

    work: Work
    agreement: Agreement

    @property
    def loss(self) -> float:
        """95th percentile over frames: stale outputs hide in a mean."""
        return self.agreement.loss_p95


@dataclass(frozen=True, slots=True)
class Measurement:
    """All candidates on the same frames.

    Attributes:
        by_bits: one entry for each candidate.
        frozen_loss: what outputs held at each clip's first frame would lose. A budget above it
            cannot tell a good plan from a dead one on these clips.
    """

    by_bits: dict[int, Measured]
    frozen_loss: float


def measure(
    model: ModelFile,
    sessions: Mapping[int, Session],
    clips: Sequence[Sequence[Feeds]],
    *,
    threads: int = 1,
    track: Track = silent,
) -> Measurement:
    """Runs all candidates and the dense network over the clips in one pass, with temporal state.

    Args:
        sessions: candidates by their bits.
        clips: held-out frames of each clip; streams start afresh with each.
    """
    graph = next(iter(sessions.values())).graph
    shapes = {name: graph.shape(name) for name in graph.inputs}
    dense = open_engine("ort-fp32", model, input_shapes=shapes, threads=threads)
    meters = {bits: AgreementMeter() for bits in sessions}
    works = {bits: Work() for bits in sessions}
    frozen = AgreementMeter()
    steps = [(feeds, position) for clip in clips for position, feeds in enumerate(clip)]
    streams = {bits: session.stream() for bits, session in sessions.items()}
    first = None
    for feeds, position in track(steps, "measuring", len(steps)):
        outputs = dense.step(feeds)
        if position == 0:
            first = outputs
            for stream in streams.values():
                stream.reset()
        assert first is not None
        frozen.add(outputs, first)
        for bits, stream in streams.items():
            meters[bits].add(outputs, stream.step(feeds))
            works[bits].add(stream.stats)
    return Measurement(
        {bits: Measured(works[bits], meters[bits].result()) for bits in sessions},
        frozen.result().loss_p95,
    )
