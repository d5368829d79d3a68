"""Engines side by side on the same frames: work, agreement with dense fp32, time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from mquans.baselines import CALIBRATED, ENGINES, open_engine, open_values
from mquans.errors import MquansError
from mquans.evaluate.interleave import Outputs, Step, interleave, speedups
from mquans.evaluate.memory import activation_bytes
from mquans.evaluate.progress import Track, silent
from mquans.evaluate.work import Work
from mquans.metrics.agreement import Agreement
from mquans.metrics.scored import inner_values, scored_axes
from mquans.onnx import ModelFile
from mquans.runtime.replay import usable
from mquans.runtime.session import Session
from mquans.runtime.stream import Frame, Stream
from mquans.sources.frames import Feeds, Numbered, as_floats, resetting

OURS = "mquans"
REFERENCE = "ort-fp32"
HEAD_FRAMES = 32
"""Frames that int8 engines take their ranges from, and `gated` its level: the first of the clip."""

OnFrame = Callable[[Stream, Outputs, Outputs], None]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What `compare` measured.

    Attributes:
        time_ms: median, 95th percentile and mean per frame, by engine.
        agreement: with the reference, by engine; where it is of inner values, of ours alone.
        engines: version and options of each, as measured.
        state_bytes: memory of the stream.
        activation_bytes: of the dense network in float32, see `evaluate.memory`.
        inner_values: that agreement is of in place of outputs, see `metrics.scored`.
        motion_gate: whether the plan has one.
    """

    work: Work
    refused: int
    agreement: dict[str, Agreement]
    time_ms: dict[str, dict[str, float]]
    engines: dict[str, str]
    state_bytes: int
    activation_bytes: int
    weights_bytes: int
    threads: int
    isa: str
    inner_values: tuple[str, ...] = ()
    motion_gate: bool = False

    @property
    def speedup(self) -> dict[str, float]:
        """Time of each engine / ours: above 1, mquans is faster; see `interleave.speedups`."""
        return speedups(self.time_ms, OURS, motion_gate=self.motion_gate)

    @property
    def state_ratio(self) -> float:
        """Memory of the stream / activations of the dense network."""
        return self.state_bytes / max(self.activation_bytes, 1)

    def as_dict(self) -> dict[str, Any]:
        """The stable keys of `compare --json`."""
        others = {name: a.as_dict() for name, a in self.agreement.items() if name != OURS}
        return {
            "frames": self.work.frames,
            "macs_total": self.work.macs_total,
            "macs_done": self.work.macs_done,
            "computation_reuse": self.work.computation_reuse,
            "similarity": self.work.similarity,
            "agreement": self.agreement[OURS].as_dict(),
            "time_ms": self.time_ms,
            "speedup": self.speedup,
            "state_bytes": self.state_bytes,
            "activation_bytes": self.activation_bytes,
            "state_ratio": self.state_ratio,
            "weights_bytes": self.weights_bytes,
            "threads": self.threads,
            "isa": self.isa,
            "refused": self.refused,
            "agreement_others": others,
            "engines": self.engines,
            "inner_values": list(self.inner_values),
        }


def compare(
    session: Session,
    model: ModelFile,
    frames: Iterable[Frame],
    *,
    engines: Sequence[str] = (REFERENCE,),
    total: int | None = None,
    on_frame: OnFrame | None = None,
    track: Track = silent,
) -> Comparison:
    """Runs every engine on every frame, one after the other within the frame.

    All use the session's number of threads. The order rotates from frame to frame, so that none
    always finds the caches as the same neighbour left them. The reference, `ort-fp32`, always runs.
    Frames with NaN are refused by the stream, shown to no engine, and counted. All begin anew with
    every recording. Outputs that only carry states are left out of agreement; where it is of values
    in front of outputs, those of the dense network are computed outside timing. Of pixels, dense
    engines are handed the values, which are made outside timing too.

    Args:
        engines: of `mquans.baselines.ENGINES`; our own always runs.
        total: number of frames, if known, for progress.
        on_frame: called with (our stream, dense outputs, our outputs) after every frame, outside
            timing.

    Raises:
        MquansError: an unknown engine, or no frame that could be compared.
    """
    names = _engine_names(engines)
    picture = session.plan.input
    refused: list[int] = []
    iterator = usable(session, track(frames, "comparing", total), refused)
    head: list[Numbered] = []
    if CALIBRATED.intersection(names):
        head = list(islice(iterator, HEAD_FRAMES))
    dense = {
        name: open_engine(
            name,
            model,
            session.plan.options,
            threads=session.threads,
            calibration=[as_floats(frame.feeds, picture) for frame in head],
        )
        for name in names
    }
    stream = session.stream()
    steps: dict[str, Step] = {OURS: stream.step}
    steps |= {name: engine.step for name, engine in dense.items()}
    work = Work()

    def watch(outputs: dict[str, Outputs]) -> None:
        work.add(stream.stats)
        if on_frame is not None:
            on_frame(stream, outputs[REFERENCE], outputs[OURS])

    inner = inner_values(session.graph, session.plan.feedback)
    exact = None
    if inner:
        exact = open_values(session.graph, inner, session.plan.options, threads=session.threads)

    def compared(feeds: Feeds, outputs: dict[str, Outputs]) -> dict[str, Outputs]:
        if exact is None:
            return outputs
        return {REFERENCE: exact.step(as_floats(feeds, picture)), OURS: stream.values(inner)}

    measured = interleave(
        steps,
        resetting([*dense.values(), *filter(None, [exact])], chain(head, iterator)),
        reference=REFERENCE,
        scored=scored_axes(session.graph, session.plan.feedback),
        on_frame=watch,
        threads=session.threads,
        handed=lambda feeds: dict.fromkeys(dense, as_floats(feeds, picture)),
        compared=compared,
    )
    return Comparison(
        work=work,
        refused=len(refused),
        agreement=measured.agreement,
        time_ms=measured.time_ms,
        engines={name: engine.description for name, engine in dense.items()},
        state_bytes=stream.state_bytes,
        activation_bytes=activation_bytes(session.graph),
        weights_bytes=session.weights_bytes,
        threads=session.threads,
        isa=session.isa,
        inner_values=inner,
        motion_gate=session.plan.motion_gate > 0,
    )


def _engine_names(engines: Sequence[str]) -> list[str]:
    names = [name for name in dict.fromkeys((REFERENCE, *engines)) if name != OURS]
    for name in names:
        if name not in ENGINES:
            raise MquansError(
                f"there is no engine {name!r}.",
                hint=f"Engines are: {', '.join((OURS, *ENGINES))}.",
            )
    return names
