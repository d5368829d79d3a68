"""A clip through one stream: outputs, and what they cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mquans.evaluate.progress import Track, silent
from mquans.evaluate.work import Work
from mquans.runtime.guard import Guard, GuardCheck, GuardReport
from mquans.runtime.replay import replay
from mquans.runtime.session import Session
from mquans.runtime.stats import StreamStats
from mquans.runtime.stream import Frame

Outputs = dict[str, npt.NDArray[np.float32]]


@dataclass(slots=True)
class FrameReport:
    """One frame: its number from 0, what it cost, and how long it took; stats is None when the
    frame was refused, check where no guard looked at it."""

    frame: int
    stats: StreamStats | None
    time_ms: float
    check: GuardCheck | None = None


@dataclass(slots=True)
class RunSummary:
    """A whole run.

    Attributes:
        refused: numbers of the frames that held NaN or infinity; they have no outputs.
        skipped: how many files of the source could not be read and were left out.
        times_ms: of every other frame.
        guard: what a guard saw and did, if there was one.
    """

    work: Work = field(default_factory=Work)
    refused: list[int] = field(default_factory=list)
    skipped: int = 0
    times_ms: list[float] = field(default_factory=list)
    state_bytes: int = 0
    guard: GuardReport | None = None

    def as_dict(self) -> dict[str, Any]:
        """The stable keys of `run --json`."""
        times = self.times_ms or [0.0]
        return {
            "frames": self.work.frames,
            "refused": self.refused,
            "skipped": self.skipped,
            "macs_total": self.work.macs_total,
            "macs_done": self.work.macs_done,
            "computation_reuse": self.work.computation_reuse,
            "similarity": self.work.similarity,
            "time_ms": {
                "median": float(np.median(times)),
                "p95": float(np.percentile(times, 95)),
            },
            "state_bytes": self.state_bytes,
            "guard": None if self.guard is None else self.guard.as_dict(),
        }


def run_clip(
    session: Session,
    frames: Iterable[Frame],
    *,
    guard: Guard | None = None,
    on_outputs: Callable[[Outputs], None] | None = None,
    on_frame: Callable[[FrameReport], None] | None = None,
    total: int | None = None,
    track: Track = silent,
) -> RunSummary:
    """Runs every frame of a clip through a new stream, which begins anew with every recording.

    A frame with NaN or infinity is refused, counted and reported; the run goes on.

    Args:
        guard: of the session, to run through instead.
        on_outputs: called with the outputs of every frame that was not refused.
        on_frame: called for every frame.

    Raises:
        FrameError: frames of a shape or dtype that the network does not take.
    """
    summary = RunSummary()
    with session.stream() if guard is None else guard as stream:
        for done in replay(session, track(frames, "running", total), stream=stream):
            check = None
            if done.outputs is None or done.stats is None:
                summary.refused.append(done.index)
            else:
                summary.times_ms.append(done.time_ms)
                summary.work.add(done.stats)
                check = None if guard is None else guard.last_check
                if on_outputs is not None:
                    on_outputs(done.outputs)
            if on_frame is not None:
                on_frame(FrameReport(done.index, done.stats, done.time_ms, check))
        summary.state_bytes = stream.state_bytes
        summary.guard = None if guard is None else guard.report
    return summary
