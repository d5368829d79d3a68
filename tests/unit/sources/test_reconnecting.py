"""If these break, a camera that drops for a second ends a night's run, or ends it as a success."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import pytest

from mquans.errors import SourceError
from mquans.sources import SourceWarning
from mquans.sources.reconnecting import AWAY_LIMIT_S, LONGEST_PAUSE_S, ReconnectingReader
from mquans.sources.selection import Selection


class Camera:
    """Gives its items, then breaks off."""

    name = "camera"
    total = None

    def __init__(self, *items: int, error: str = "the stream ended after some frames.") -> None:
        self.closed = False
        self._items, self._error = items, error

    def frames(self, selection: Selection) -> Iterator[int]:
        yield from self._items
        raise SourceError(self._error, where=self.name)

    def close(self) -> None:
        self.closed = True


class World:
    """Cameras that answer one after the other, None for none; pauses pass at once."""

    def __init__(self, *answers: Camera | None) -> None:
        self.answers = list(answers)
        self.now_s = 0.0
        self.pauses: list[float] = []
        self.closed_at: int | None = None

    def open(self) -> Camera:
        answer = self.answers.pop(0) if self.answers else None
        if answer is None:
            raise SourceError("cannot be opened: Connection refused.", where="camera")
        return answer

    def pause(self, seconds: float) -> bool:
        self.now_s += seconds
        self.pauses.append(seconds)
        return len(self.pauses) == self.closed_at

    def reader(self, first: Camera) -> ReconnectingReader:
        return ReconnectingReader(first, self.open, pause=self.pause, clock=lambda: self.now_s)


@pytest.fixture
def said() -> Iterator[Callable[[], list[str]]]:
    """All warnings so far, as Python shows them by default: none twice in the same words."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default", SourceWarning)
        yield lambda: [str(warning.message) for warning in caught]


def test_stream_goes_on_after_gaps_and_each_is_told_of(said: Callable[[], list[str]]) -> None:
    first, second = Camera(1, 2), Camera(3)
    world = World(None, None, second, Camera(4, 5))
    frames = world.reader(first).frames(Selection(frames=5))
    assert list(frames) == [1, 2, 3, 4, 5]
    assert first.closed
    assert second.closed
    assert said() == [
        "camera: the stream ended after some frames. Connecting again (gap 1).",
        "camera: is back after 1.8 s (gap 1).",
        "camera: the stream ended after some frames. Connecting again (gap 2).",
        "camera: is back after 0.2 s (gap 2).",
    ]


@pytest.mark.filterwarnings("ignore")
def test_pauses_grow_but_a_camera_that_returns_is_found_soon() -> None:
    world = World(*[None] * 9, Camera(2))
    assert list(world.reader(Camera(1)).frames(Selection(frames=2))) == [1, 2]
    assert world.pauses[:4] == [0.25, 0.5, 1.0, 1.0]
    assert max(world.pauses) == LONGEST_PAUSE_S <= 1


@pytest.mark.filterwarnings("ignore")
def test_camera_that_stays_away_is_an_error_in_the_end() -> None:
    """Exit code 1, with what is wrong, and after minutes, not at once."""
    world = World()
    frames = world.reader(Camera(1)).frames(Selection())
    assert next(frames) == 1
    with pytest.raises(SourceError, match=r"away for more than 300 s: .*Connection refused"):
        next(frames)
    assert AWAY_LIMIT_S < world.now_s < AWAY_LIMIT_S + 2


@pytest.mark.filterwarnings("ignore")
def test_camera_that_answers_but_never_shows_anything_is_away_too() -> None:
    world = World(*[Camera(error="sent nothing for 5 s, after 0 frames.") for _ in range(1000)])
    frames = world.reader(Camera(1)).frames(Selection())
    assert next(frames) == 1
    with pytest.raises(SourceError, match="away for more than 300 s: sent nothing for 5 s"):
        next(frames)


@pytest.mark.filterwarnings("ignore")
def test_closing_ends_the_waiting() -> None:
    """Nobody waits for a camera that is no longer wanted."""
    world = World()
    world.closed_at = 3
    assert list(world.reader(Camera(1)).frames(Selection())) == [1]
    assert len(world.pauses) == 3
