"""Events of all cameras, for whoever listens: the page, Home Assistant, scripts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import msgspec

from mquans.serve.camera import Camera, label_of
from mquans.serve.supervisor import Supervisor
from mquans.serve.tracking import Event, Tracker
from mquans.serve.wire import Frame

WAITING = 256
"""Events that a slow listener may be behind."""


class Happenings:
    """Follows the objects of all cameras and tells of them.

    Attributes:
        trackers: by camera, of those with boxes.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self.trackers: dict[str, Tracker] = {}
        self._listeners: list[Callable[[Event], None]] = []
        self._queues: set[asyncio.Queue[bytes | None]] = set()
        self._shown: dict[str, str] = {}
        supervisor.listen(self._hear)

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Has it called with every event."""
        self._listeners.append(listener)

    def subscribe(self) -> asyncio.Queue[bytes | None]:
        """JSON of events and of changes of state, as they happen; None at the end."""
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(WAITING)
        self._queues.add(queue)
        return queue

    def unsubscribe(self, queue: asyncio.Queue[bytes | None]) -> None:
        self._queues.discard(queue)

    def end(self) -> None:
        """Nothing more will happen."""
        for queue in self._queues:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(None)

    def tracker(self, camera: Camera) -> Tracker:
        """Of a camera; it begins anew when its zones or lines change."""
        if camera.name not in self.trackers:
            options = camera.options
            self.trackers[camera.name] = Tracker(camera.name, options.zones, options.lines)
        return self.trackers[camera.name]

    def _hear(self, what: str, camera: Camera, frame: Frame | None) -> None:
        if frame is not None:
            if camera.model.job.decode is not None:
                labels = self._supervisor.labels(camera)
                boxes = [(box[:4], label_of(box[5], labels)) for box in frame.boxes]
                self._tell(self.tracker(camera).update(boxes, frame.taken_s))
            return
        tracker = self.trackers.get(camera.name)
        if tracker is not None and (what != "state" or camera.state not in ("live", "connecting")):
            self._tell(tracker.clear())
            if what != "state":  # other zones and lines, or none
                del self.trackers[camera.name]
        shown = f"{what} {camera.state}"
        if self._shown.get(camera.name) != shown:
            self._shown[camera.name] = shown
            self._spread(
                {"type": "state", "camera": camera.name, "time": time.time(), "state": camera.state}
            )

    def _tell(self, events: list[Event]) -> None:
        for event in events:
            self._spread(event)
            for listener in self._listeners:
                listener(event)

    def _spread(self, event: Event | dict[str, Any]) -> None:
        # A listener that reads nothing misses what comes.
        if waiting := [queue for queue in self._queues if not queue.full()]:
            data = msgspec.json.encode(event)
            for queue in waiting:
                queue.put_nowait(data)
