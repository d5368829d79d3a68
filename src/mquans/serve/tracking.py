"""What happens in front of a camera: objects that appear and leave, zones that they enter, lines
that they cross. Decision 44 says why this is not a library."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import msgspec

Point = tuple[float, float]
Box = tuple[float, float, float, float]
Kind: TypeAlias = Literal["appeared", "left", "entered", "exited", "crossed"]

LEAST_OVERLAP = 0.2
"""IoU of a box with where its track is expected."""

FARTHEST = 1.5
"""Distance of centres in sides of the box, for small objects that move by more than their size."""

CONFIRMED = 3
"""Frames in which an object is seen before it has appeared: a single box may be an error."""

LOST_S = 2.0
"""Without a box for so long, an object has left."""


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """What happened.

    Attributes:
        time: seconds since 1970.
        track: number of the object.
        box: where it was last, in shares of the picture.
        place: the zone or line.
        direction: of a crossing: `forward` is from the left of the line to its right, seen along it
            from its first point.
        counts: objects in front of the camera by label, after it.
    """

    type: Kind
    camera: str
    time: float
    label: str
    track: int
    box: Box
    place: str = ""
    direction: str = ""
    counts: dict[str, int] = {}


@dataclass(slots=True)
class Track:
    """One object."""

    number: int
    label: str
    box: Box
    seen_s: float
    frames: int = 1
    speed: Point = (0.0, 0.0)
    zones: set[str] = field(default_factory=set)

    @property
    def confirmed(self) -> bool:
        return self.frames >= CONFIRMED

    def expected(self, now_s: float) -> Box:
        """Where it would be if it went on as before."""
        right, down = (speed * (now_s - self.seen_s) for speed in self.speed)
        left, top, end, bottom = self.box
        return left + right, top + down, end + right, bottom + down


class Tracker:
    """Follows the boxes of one camera.

    Args:
        zones: polygons in shares of the picture; an object is where its lower edge has its middle.
        lines: from and to.
        clock: seconds since 1970, for events. Motion is timed by another, which is never set.

    Attributes:
        crossings: by line and direction, since the start.
    """

    def __init__(
        self,
        camera: str,
        zones: Mapping[str, Sequence[Point]],
        lines: Mapping[str, tuple[Point, Point]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._camera, self._zones, self._lines, self._clock = camera, zones, lines, clock
        self._tracks: list[Track] = []
        self._numbers = itertools.count(1)
        self.crossings = {name: {"forward": 0, "backward": 0} for name in lines}

    def counts(self) -> dict[str, int]:
        """Objects that are there, by label."""
        return dict(Counter(track.label for track in self._tracks if track.confirmed))

    def in_zones(self) -> dict[str, int]:
        """Objects in each zone."""
        return {
            name: sum(name in track.zones for track in self._tracks if track.confirmed)
            for name in self._zones
        }

    def update(self, boxes: Iterable[tuple[Box, str]], now_s: float) -> list[Event]:
        """Takes the boxes of a frame, with their labels.

        Args:
            now_s: when the frame was taken, of the monotonic clock.
        """
        waiting = list(boxes)
        pairs = self._pairs(waiting, now_s)
        found = [event for track, at in pairs for event in self._move(track, waiting[at][0], now_s)]
        matched = {at for _, at in pairs}
        self._tracks += [
            Track(next(self._numbers), label, box, now_s)
            for at, (box, label) in enumerate(waiting)
            if at not in matched
        ]
        return found + self._lose(now_s - LOST_S)

    def clear(self) -> list[Event]:
        """Nothing can be seen any more."""
        return self._lose(float("inf"))

    def _pairs(self, boxes: Sequence[tuple[Box, str]], now_s: float) -> list[tuple[Track, int]]:
        """Tracks and the boxes that they go on with, best first."""
        expected = [track.expected(now_s) for track in self._tracks]
        scores = sorted(
            (-score, row, column)
            for row, track in enumerate(self._tracks)
            for column, (box, label) in enumerate(boxes)
            if label == track.label and (score := closeness(expected[row], box)) > 0
        )
        pairs: dict[int, int] = {}
        taken: set[int] = set()
        for _, row, column in scores:
            if row not in pairs and column not in taken:
                pairs[row] = column
                taken.add(column)
        return [(self._tracks[row], column) for row, column in pairs.items()]

    def _move(self, track: Track, box: Box, now_s: float) -> Iterator[Event]:
        before, now = foot_of(track.box), foot_of(box)
        passed_s = max(now_s - track.seen_s, 1e-3)
        track.speed = (now[0] - before[0]) / passed_s, (now[1] - before[1]) / passed_s
        track.box, track.seen_s = box, now_s
        track.frames += 1
        if track.frames == CONFIRMED:
            yield self._event("appeared", track)
        if not track.confirmed:
            return
        for name, corners in self._zones.items():
            inside = contains(corners, now)
            if inside and name not in track.zones:
                track.zones.add(name)
                yield self._event("entered", track, name)
            elif not inside and name in track.zones:
                track.zones.discard(name)
                yield self._event("exited", track, name)
        for name, line in self._lines.items():
            if direction := crossing(line, before, now):
                self.crossings[name][direction] += 1
                yield self._event("crossed", track, name, direction)

    def _lose(self, before_s: float) -> list[Event]:
        lost = [track for track in self._tracks if track.seen_s < before_s]
        self._tracks = [track for track in self._tracks if track.seen_s >= before_s]
        return [self._event("left", track) for track in lost if track.confirmed]

    def _event(self, kind: Kind, track: Track, place: str = "", direction: str = "") -> Event:
        return Event(
            kind, self._camera, self._clock(), track.label, track.number, track.box, place,
            direction, self.counts(),
        )  # fmt: skip


def closeness(expected: Box, box: Box) -> float:
    """How well a box is where it is expected: over 1 where they overlap enough, else less the
    farther it is, 0 and less where it is too far. In plain Python: of a few boxes, making arrays
    alone takes longer."""
    left, top, right, bottom = expected
    x, y, end, low = box
    wide, high = end - x, low - y
    width = (right if right < end else end) - (left if left > x else x)
    height = (bottom if bottom < low else low) - (top if top > y else y)
    if width > 0 and height > 0:
        common = width * height
        overlap = common / ((right - left) * (bottom - top) + wide * high - common)
        if overlap >= LEAST_OVERLAP:
            return 1 + overlap
    across = abs(left + right - x - end) / max(wide, 1e-6)
    down = abs(top + bottom - y - low) / max(high, 1e-6)
    return 1 - max(across, down) / 2 / FARTHEST


def foot_of(box: Box) -> Point:
    """The middle of the lower edge: where an object stands."""
    return (box[0] + box[2]) / 2, box[3]


def contains(corners: Sequence[Point], point: Point) -> bool:
    """Is a point inside a polygon? By the number of edges to its right."""
    x, y = point
    inside = False
    for (ax, ay), (bx, by) in zip(corners, [*corners[1:], corners[0]], strict=True):
        if (ay > y) != (by > y) and x < ax + (y - ay) * (bx - ax) / (by - ay):
            inside = not inside
    return inside


def crossing(line: tuple[Point, Point], before: Point, now: Point) -> str:
    """`forward` or `backward` if the way from one point to the next crosses a line, else empty."""
    a, b = line
    was, is_now = _side(a, b, before), _side(a, b, now)
    if was == is_now or _side(before, now, a) == _side(before, now, b):
        return ""
    return "forward" if was else "backward"


def _side(a: Point, b: Point, point: Point) -> bool:
    """Is a point to the left of the way from a to b, where y points down?"""
    return (b[0] - a[0]) * (point[1] - a[1]) - (b[1] - a[1]) * (point[0] - a[0]) < 0
