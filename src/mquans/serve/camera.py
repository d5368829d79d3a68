"""What the supervisor knows of a camera: state, counters, five minutes of history, log."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from mquans.serve.config import CameraOptions
from mquans.serve.measuring import Measured
from mquans.serve.states import Record, counters_of
from mquans.serve.wire import CameraState, Counts, Frame, Told

HISTORY_S = 300
LOG_LINES = 100

OF_THE_MEAN = 1 / 32
"""Share that a frame has in the mean time of a step."""


@dataclass(slots=True)
class Second:
    """Means and the worst of the frames of one second."""

    at_s: int
    frames: int = 0
    reuse: float = 0.0
    latency_ms: float = 0.0
    worst_ms: float = 0.0

    def add(self, reuse: float, latency_ms: float) -> None:
        self.frames += 1
        self.reuse += (reuse - self.reuse) / self.frames
        self.latency_ms += (latency_ms - self.latency_ms) / self.frames
        self.worst_ms = max(self.worst_ms, latency_ms)


class Viewer:
    """Whoever wants the newest frame with its picture. What is not taken in time is passed over,
    so that a slow viewer holds up nobody.

    Attributes:
        asked: set while the next one is wanted, and at the end.
    """

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self._newest: Frame | None = None
        self._came = asyncio.Event()
        self.ended = False

    def offer(self, frame: Frame) -> None:
        self._newest = frame
        self._came.set()

    def end(self) -> None:
        """Nothing more will come."""
        self.ended = True
        self._came.set()
        self.asked.set()

    async def frame(self) -> Frame | None:
        """The newest frame that was not taken before; None at the end."""
        await self._came.wait()
        self._came.clear()
        found, self._newest = self._newest, None
        return None if self.ended else found


@dataclass(slots=True)
class Camera:
    """One camera, whoever runs it.

    Attributes:
        epoch: of its owner; what others say of it is not heard.
        worker: number of the worker that runs it.
        counts: of this owner; `counters` adds those of owners before.
        restarts: times that its worker was replaced.
        step_ms: to compute a frame, as a running mean; 0 before the first.
        retry_at: when it is tried again, of the monotonic clock.
        model, upgrade: what it is computed with, and what runs beside for a trial.
        runs: the name of the former in the file of cameras.
    """

    name: str
    options: CameraOptions
    model: Measured
    record: Record
    enabled: bool = True
    epoch: int = 0
    worker: int | None = None
    state: CameraState = "waiting"
    why: str = ""
    retry_at: float = 0.0
    restarts: int = 0
    step_ms: float = 0.0
    upgrade: Measured | None = None
    runs: str = ""
    counts: Counts = field(default_factory=Counts)
    last: Frame | None = None
    last_at: float = 0.0
    history: deque[Second] = field(default_factory=lambda: deque(maxlen=HISTORY_S))
    log: deque[tuple[float, str]] = field(default_factory=lambda: deque(maxlen=LOG_LINES))
    viewers: set[Viewer] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.runs = self.runs or str(self.options.model)

    @property
    def counters(self) -> dict[str, int]:
        """Since the camera was first seen."""
        return counters_of(self.counts, self.record.counters)

    def own(self, worker: int) -> None:
        """It is given to a worker."""
        self.record = self.to_record()
        self.counts = Counts(position=self.counts.position)
        self.epoch = self.record.epoch + 1
        self.worker = worker
        if self.upgrade is not None:
            self.say(
                "the trial of another model or plan was cut short; the present one goes on until "
                "the next reload."
            )
            self.upgrade = None
        self.become("waiting", "")

    def become(self, state: CameraState, why: str, retry_s: float = 0.0) -> None:
        """Changes what it is shown as."""
        self.state, self.why = state, why
        self.retry_at = time.monotonic() + retry_s if state == "retry" else 0.0

    def say(self, text: str) -> None:
        """A line in its log."""
        if text:
            self.log.append((time.time(), text))

    def hear(self, told: Told, text: str) -> None:
        """What its worker tells; `text` has no passwords."""
        self.counts = told.counts or self.counts
        if told.state is not None:
            if told.state != self.state:
                self.say(told.state if not text else f"{told.state}: {text}")
            self.become(told.state, text, told.retry_s)
        else:
            self.say(text)

    def see(self, frame: Frame) -> None:
        """A frame, which is passed on to viewers."""
        self.last, self.last_at, self.counts = frame, time.time(), frame.counts
        self.step_ms += (frame.step_ms - self.step_ms) * (OF_THE_MEAN if self.step_ms else 1.0)
        if frame.keyframe:
            self.say(f"keyframe: {frame.keyframe}")
        at_s = int(self.last_at)
        if not self.history or self.history[-1].at_s != at_s:
            self.history.append(Second(at_s))
        self.history[-1].add(frame.reuse, (frame.done_s - frame.taken_s) * 1e3)
        for viewer in self.viewers:
            if frame.jpeg is not None:
                viewer.offer(frame)

    def to_record(self) -> Record:
        """What is kept on disk."""
        level = 0 if self.last is None or self.last.guard is None else self.last.guard["level"]
        return Record(max(self.epoch, self.record.epoch), self.counters, int(level), self.enabled)

    def retry_in_s(self) -> float:
        return max(0.0, self.retry_at - time.monotonic())


def shown_state(camera: Camera, labels: tuple[str, ...], source: str) -> dict[str, Any]:
    """The camera as JSON: what its state is, and the last frame.

    Args:
        source: as it may be shown.
    """
    last = camera.last
    return {
        "name": camera.name,
        "source": source,
        "model": camera.runs,
        "enabled": camera.enabled,
        "state": camera.state,
        "why": camera.why,
        "retry_in_s": round(camera.retry_in_s(), 1),
        "epoch": camera.epoch,
        "worker": camera.worker,
        "restarts": camera.restarts,
        "counters": camera.counters,
        "fps": _rate(camera),
        "reuse": None if last is None else round(last.reuse, 4),
        "step_ms": None if last is None else round(last.step_ms, 2),
        "latency_ms": None if last is None else round((last.done_s - last.taken_s) * 1e3, 2),
        "time": None if last is None else camera.last_at,
        "size": None if last is None else last.size,
        "boxes": [] if last is None else shown_boxes(last, labels),
        "values": {} if last is None else last.values,
        "guard": None if last is None else last.guard,
    }


def shown_boxes(frame: Frame, labels: tuple[str, ...]) -> list[dict[str, Any]]:
    """Boxes as JSON, in shares of the picture."""
    return [
        {
            "box": [round(share, 5) for share in box[:4]],
            "score": round(box[4], 4),
            "label": label_of(box[5], labels),
        }
        for box in frame.boxes
    ]


def label_of(kind: int, labels: tuple[str, ...]) -> str:
    """Name of a class; its number where the file names none."""
    return labels[kind] if 0 <= kind < len(labels) else str(kind)


def shown_history(camera: Camera) -> list[list[float]]:
    """Per second with frames: time, frames, mean reuse, mean and worst latency in ms."""
    return [
        [
            second.at_s,
            second.frames,
            round(second.reuse, 4),
            round(second.latency_ms, 1),
            round(second.worst_ms, 1),
        ]
        for second in camera.history
    ]


def _rate(camera: Camera) -> float:
    """Frames per second over the last full seconds."""
    now_s = int(time.time())
    recent = [second.frames for second in camera.history if now_s - 6 < second.at_s < now_s]
    return round(sum(recent) / 5, 2)
