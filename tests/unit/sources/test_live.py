"""If these break, what a camera user sees lags behind, hangs, or an error of the camera is lost."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from mquans.errors import SourceError
from mquans.sources.live import LiveReader, Newest
from mquans.sources.selection import Selection
from mquans.sources.video import VideoReader


def test_slow_consumer_gets_the_newest_frame_and_the_last_one() -> None:
    produced, go = threading.Event(), threading.Event()

    def camera() -> Iterator[int]:
        yield 0
        go.wait(5)
        yield from range(1, 8)
        produced.set()

    newest = Newest(camera())
    frames = iter(newest)
    assert next(frames) == 0
    go.set()
    assert produced.wait(5)
    assert list(frames) == [7]
    assert newest.dropped == 6


def test_fast_consumer_gets_every_frame_in_order() -> None:
    turn = threading.Semaphore(0)

    def camera() -> Iterator[int]:
        for index in range(50):
            yield index
            turn.acquire(timeout=5)

    received = []
    for frame in Newest(camera()):
        received.append(frame)
        turn.release()
    assert received == list(range(50))


def test_error_of_the_camera_comes_after_its_last_frame() -> None:
    def camera() -> Iterator[int]:
        yield 1
        raise SourceError("the stream broke off")

    newest = Newest(camera())
    newest._thread.join(5)
    frames = iter(newest)
    assert next(frames) == 1
    with pytest.raises(SourceError, match="broke off"):
        next(frames)


def test_close_wakes_a_waiting_consumer_and_stops_the_thread() -> None:
    silence = threading.Event()

    def camera() -> Iterator[int]:
        yield 0
        silence.wait(5)
        yield 1

    newest = Newest(camera())
    frames = iter(newest)
    next(frames)
    timer = threading.Timer(0.05, newest.close, [0.0])
    timer.start()
    assert list(frames) == []
    silence.set()
    assert newest.close(5)


def test_live_stream_of_a_real_decoder_can_be_closed_at_any_frame(clip: Path) -> None:
    for taken in (0, 1, 5):
        reader = LiveReader(VideoReader(f"file:{clip}", name="camera", live=True), timeout_s=5)
        frames = reader.frames(Selection())
        # Frames that nobody takes in time are left out, so that the end may come early.
        with suppress(SourceError):
            for _, _ in zip(range(taken), frames, strict=False):
                pass
        reader.close()


def test_live_stream_that_ends_is_an_error_behind_its_last_frame(clip: Path) -> None:
    """A camera has no end: it was switched off, or the network is down."""
    reader = LiveReader(VideoReader(f"file:{clip}", name="camera", live=True), timeout_s=5)
    seen = []
    with pytest.raises(SourceError, match="camera: the stream ended after 20 frames"):
        seen.extend(reader.frames(Selection()))
    reader.close()


def test_ending_is_noticed_without_a_frame_coming() -> None:
    """Ctrl-C while a camera is silent."""
    silence = threading.Event()

    class Camera:
        name = "camera"
        total = None

        def frames(self, selection: Selection) -> Iterator[int]:
            yield 0
            silence.wait(5)

        def close(self) -> None:
            pass

    reader = LiveReader(Camera(), timeout_s=5)
    frames = reader.frames(Selection())
    assert next(frames) == 0
    reader.end()
    assert list(frames) == []
    silence.set()
    reader.close()
