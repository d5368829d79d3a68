"""Engines side by side on the same frames: work, agreement with dense fp32, time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from time import perf_counter_ns
from typing import Any

import numpy as np
import numpy.typing as npt

from mquans.baselines import ENGINES, open_engine
from mquans.engine.session import Session
from mquans.engine.stream import Stream
from mquans.errors import MquansError, SourceError
from mquans.evaluate.agreement import Agreement, AgreementMeter
from mquans.evaluate.frames import Feeds, Frame, feeds_of, finite
from mquans.evaluate.progress import Track, silent
from mquans.evaluate.work import Work
from mquans.importers import ModelFile

OURS = "mquans"
REFERENCE = "ort-fp32"
INT8_FRAMES = 32
"""Frames that int8 engines take their ranges from: the first of the clip."""

Outputs = dict[str, npt.NDArray[np.float32]]
OnFrame = Callable[[Stream, Outputs, Outputs], None]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What `compare` measured.

    Attributes:
        time_ms: median and 95th percentile per frame, by engine.
        agreement: with the reference, by engine.
        engines: version and options of each, as measured.
    """

    work: Work
    refused: int
    agreement: dict[str, Agreement]
    time_ms: dict[str, dict[str, float]]
    engines: dict[str, str]
    state_bytes: int
    weights_bytes: int
    threads: int
    isa: str

    @property
    def speedup(self) -> dict[str, float]:
        """Median time of each engine / ours: above 1, mquans is faster."""
        ours = self.time_ms[OURS]["median"]
        return {
            name: times["median"] / ours for name, times in self.time_ms.items() if name != OURS
        }

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
            "weights_bytes": self.weights_bytes,
            "threads": self.threads,
            "isa": self.isa,
            "refused": self.refused,
            "agreement_others": others,
            "engines": self.engines,
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
    Frames with NaN are refused by the stream, shown to no engine, and counted.

    Args:
        engines: of `mquans.baselines.ENGINES`; our own always runs.
        total: number of frames, if known, for progress.
        on_frame: called with (our stream, dense outputs, our outputs) after every frame, outside
            timing.

    Raises:
        MquansError: an unknown engine, or no frame that could be compared.
    """
    names = _engine_names(engines)
    inputs = session.graph.inputs
    iterator = (feeds_of(frame, inputs) for frame in frames)
    head: list[Feeds] = []
    if any(name.endswith("int8") for name in names):
        head = list(islice(iterator, INT8_FRAMES))
    shapes = {name: session.graph.shape(name) for name in inputs}
    dense = {
        name: open_engine(
            name,
            model,
            input_shapes=shapes,
            threads=session.threads,
            calibration=[feeds for feeds in head if finite(feeds)],
        )
        for name in names
    }
    stream = session.stream()
    steps: dict[str, Callable[[Feeds], Outputs]] = {OURS: stream.step}
    steps |= {name: engine.step for name, engine in dense.items()}
    order = list(steps)
    times_ns: dict[str, list[int]] = {name: [] for name in steps}
    meters = {name: AgreementMeter() for name in steps if name != REFERENCE}
    work, refused = Work(), 0
    for feeds in track(chain(head, iterator), "comparing", total):
        session.frame_arrays(feeds)
        if not finite(feeds):
            refused += 1
            continue
        outputs: dict[str, Outputs] = {}
        for name in order:
            start = perf_counter_ns()
            outputs[name] = steps[name](feeds)
            times_ns[name].append(perf_counter_ns() - start)
        order.append(order.pop(0))
        work.add(stream.stats)
        for name, meter in meters.items():
            meter.add(outputs[REFERENCE], outputs[name])
        if on_frame is not None:
            on_frame(stream, outputs[REFERENCE], outputs[OURS])
    if not work.frames:
        raise SourceError("no frame could be compared: all were refused.")
    return Comparison(
        work=work,
        refused=refused,
        agreement={name: meter.result() for name, meter in meters.items()},
        time_ms={name: _summary(times_ns[name]) for name in steps},
        engines={name: engine.description for name, engine in dense.items()},
        state_bytes=stream.state_bytes,
        weights_bytes=session.weights_bytes,
        threads=session.threads,
        isa=session.isa,
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


def _summary(times_ns: list[int]) -> dict[str, float]:
    times_ms = np.array(times_ns) / 1e6
    return {"median": float(np.median(times_ms)), "p95": float(np.percentile(times_ms, 95))}
