"""The thread that reads a camera, again and again for ever, and what it hands over."""

from __future__ import annotations

import io
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

from PIL import Image

from mquans.errors import MquansError
from mquans.files import printable
from mquans.plan import AudioFormat, Plan
from mquans.serve.wire import CameraJob, CameraState
from mquans.sources import FirstFrame, Source, open_planned
from mquans.sources.frames import Feeds, feeds_of

Tell = Callable[[CameraState | None, str, float], None]

SOUND_WAITS_S = 2.0
"""Of sound, when hops are computed more slowly than they come; then it begins anew."""

SHOWN_WIDTH, JPEG_QUALITY = 640, 78
"""Of pictures for people."""

EARLY = 0.25
"""Of a period that a frame may come early."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A frame of a camera, prepared.

    Attributes:
        taken_s: when it came, of the monotonic clock.
        position: frames of a file up to this one; 0 of what is live.
        size: width and height of the picture.
        jpeg: the picture, while somebody watches.
    """

    feeds: Feeds
    taken_s: float
    position: int
    live: bool
    size: tuple[int, int] | None
    jpeg: bytes | None


class Slot:
    """What waits to be computed.

        live pictures   one; the newest wins
        live sound      two seconds; when these are full, all are let go and the stream begins anew
        files           one; who puts the next waits until it is taken

    Attributes:
        waits: of a file.
        dropped: frames that were never computed.
        overflows: times that sound was let go.
    """

    def __init__(self, *, waits: bool = False, capacity: int = 1, in_order: bool = False) -> None:
        self.waits = waits
        self.dropped = self.overflows = 0
        self._capacity, self._in_order = capacity, in_order
        self._items: deque[Taken] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, item: Taken) -> None:
        with self._changed:
            if self.waits:
                self._changed.wait_for(lambda: not self._items or self._closed)
            if len(self._items) >= self._capacity:
                self.dropped += len(self._items)
                self._items.clear()
                if self._in_order:
                    self.overflows += 1
                    item = _begun(item)
            if not self._closed:
                self._items.append(item)

    def since(self) -> float | None:
        """When what waits longest came."""
        with self._changed:
            return self._items[0].taken_s if self._items else None

    def take(self) -> Taken | None:
        with self._changed:
            item = self._items.popleft() if self._items else None
            self._changed.notify_all()
            return item

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Feeder:
    """Reads a camera on a thread of its own.

    Attributes:
        watched: somebody wants pictures.
        slot: what waits to be computed.
        connects: times that the source was opened.
        last_s: when the last frame came.
    """

    def __init__(
        self,
        job: CameraJob,
        plan: Plan,
        *,
        pixels: bool,
        position: int = 0,
        wake: Callable[[], None],
        tell: Tell,
        pause: Callable[[float], float] = lambda seconds: seconds * random.uniform(0.75, 1.25),
    ) -> None:
        self.watched = False
        self.connects = 0
        self.last_s = time.monotonic()
        self._job, self._plan, self._pixels = job, plan, pixels
        self._wake, self._tell, self._pause = wake, tell, pause
        self._position = position
        self._closing = threading.Event()
        self._source: Source | None = None
        self._sound = isinstance(plan.preparation, AudioFormat)
        self._frame_s = frame_seconds(plan, job.fps)
        self.slot = Slot()
        if self._sound:
            waiting = max(2, round(SOUND_WAITS_S / self._frame_s))
            self.slot = Slot(capacity=waiting, in_order=True)
        self._thread = threading.Thread(target=self._run, name=f"feed-{job.name}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Reads no more; the thread ends, and with it the decoder, once it has noticed."""
        self._closing.set()
        self.slot.close()
        if (source := self._source) is not None:
            source.end()

    def join(self, timeout_s: float) -> bool:
        """Waits for the thread; whether it has ended."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        shortest, longest = self._job.retry_s
        pause_s = shortest
        while not self._closing.is_set():
            self._tell("connecting", "", 0.0)
            came_before = self.last_s
            try:
                self._read()
                if not self._again():
                    return
                continue
            except MquansError as error:
                why = str(error)
            except Exception as error:  # of a decoder: the next attempt may go well
                why = f"{type(error).__name__}: {error}."
            if self.last_s != came_before:
                pause_s = shortest
            else:
                self._position = 0  # another file may be in its place, which has not so many frames
            wait_s = min(max(self._pause(pause_s), shortest), longest)
            pause_s = min(2 * pause_s, longest)
            if not self._closing.is_set():
                self._tell("retry", printable(why, 500), wait_s)
            self._closing.wait(wait_s)

    def _again(self) -> bool:
        """Behind the end of a file: is it begun again?"""
        if self._closing.is_set():
            return False
        self._position = 0
        if not self._job.loop:
            self._tell("ended", "", 0.0)
        return self._job.loop

    def _read(self) -> None:
        """Until the source ends.

        Raises:
            MquansError: it cannot be opened, or breaks off.
        """
        with self._opened() as source:
            told = False
            pace = Pace(self._frame_s, every=self._sound, live=source.live, closing=self._closing)
            if self._position:
                source.advance()
                pace.pass_over(source.time_s)
            while not self._closing.is_set():
                try:
                    source.advance()
                except StopIteration:
                    return
                taken_s = time.monotonic()
                self._position += not source.live
                self.last_s = taken_s
                if not told:
                    told = True
                    self._tell("live", "", 0.0)
                if not pace.wants(source.time_s, taken_s) or self._closing.is_set():
                    continue
                self.slot.put(self._taken(source))
                self._wake()

    @contextmanager
    def _opened(self) -> Iterator[Source]:
        # One frame before those that are new says where the pace stood.
        skip = max(0, self._position - 1)
        self.connects += 1
        with closing(
            open_planned(
                self._plan, self._job.source, skip=skip, pixels=self._pixels, reconnect=False
            )
        ) as source:
            self._source = source
            self.slot.waits = not source.live
            try:
                yield source
            finally:
                self._source = None

    def _taken(self, source: Source) -> Taken:
        taken_s = time.monotonic()
        frame: Any = source.frame()
        jpeg = jpeg_of(source) if self.watched else None
        inputs = [name for name in self._plan.input_shapes if name not in self._plan.feedback]
        feeds = feeds_of(frame, inputs)
        return Taken(feeds, taken_s, self._position, source.live, source.picture_size, jpeg)


class Pace:
    """Which frames are wanted; of files also when, as they play.

    Args:
        period_s: from one wanted frame to the next.
        every: none may be left out.
    """

    def __init__(
        self, period_s: float, *, every: bool, live: bool, closing: threading.Event
    ) -> None:
        self._period_s = period_s
        self._every, self._live, self._closing = every, live, closing
        self._due_s = 0.0
        self._begun: tuple[float, float] | None = None
        """Of a file: a time of the clock, and that of the frame which was shown then."""
        self._bucket = -1
        self._number = 0

    def pass_over(self, time_s: float | None) -> None:
        """A frame of a file that was taken before."""
        self._bucket = self._bucket_of(time_s)

    def wants(self, time_s: float | None, now_s: float) -> bool:
        """Is a frame wanted? Of a file, waits until it is due."""
        if self._live and self._every:
            return True
        if self._live:
            if now_s < self._due_s - EARLY * self._period_s:
                return False
            self._due_s = max(self._due_s, now_s - self._period_s) + self._period_s
            return True
        bucket = self._bucket_of(time_s)
        if bucket == self._bucket:
            return False
        self._bucket = bucket
        shown_s = self._period_s * self._number if time_s is None else time_s
        self._number += 1
        if self._begun is None or shown_s < self._begun[1]:
            self._begun = now_s, shown_s
        self._closing.wait(max(0.0, self._begun[0] + shown_s - self._begun[1] - now_s))
        return True

    def _bucket_of(self, time_s: float | None) -> int:
        """Frames of one period share a bucket, of which the first is wanted."""
        if time_s is None:
            return self._bucket + 1
        return int(time_s / self._period_s + EARLY)


def jpeg_of(source: Source) -> bytes | None:
    """The picture that came last, small; None where there is none."""
    try:
        picture = Image.fromarray(source.picture())
    except MquansError:  # ready tensors
        return None
    if picture.width > SHOWN_WIDTH:
        height = max(1, round(picture.height * SHOWN_WIDTH / picture.width))
        picture = picture.resize((SHOWN_WIDTH, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()


def frame_seconds(plan: Plan, fps: float) -> float:
    """From one frame to the next: as the file of cameras says, of sound as the network hears it."""
    format = plan.preparation
    if not isinstance(format, AudioFormat):
        return 1 / fps
    steps = format.advance or format.steps
    return format.hop * format.subsample * steps / format.rate


def _begun(item: Taken) -> Taken:
    """The same frame, with which a recording begins."""
    return Taken(
        FirstFrame(item.feeds), item.taken_s, item.position, item.live, item.size, item.jpeg
    )
