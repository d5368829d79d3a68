"""Frames per second of many streams, as `benchmarks/streams.py` reports them."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

import mquans
from mquans.evaluate import Throughput, throughput
from mquans.sources.frames import Feeds

Frames = npt.NDArray[np.float32]


def clips(streams: int, frames: int) -> list[list[Feeds]]:
    return [[{"x": np.full(1, t, np.float32)} for t in range(frames)] for _ in range(streams)]


@pytest.mark.parametrize(("streams", "workers"), [(1, 1), (5, 2), (2, 4)])
def test_every_stream_gets_its_frames_in_order(streams: int, workers: int) -> None:
    """A stream that skips or swaps frames would be measured on other changes than the clip's."""
    seen: list[list[float]] = [[] for _ in range(streams)]
    busy = [threading.Lock() for _ in range(streams)]

    def step(index: int) -> Callable[[Feeds], None]:
        def run(feeds: Feeds) -> None:
            assert busy[index].acquire(blocking=False), "one stream in two threads at once"
            seen[index].append(float(feeds["x"][0]))
            busy[index].release()

        return run

    found = throughput([step(i) for i in range(streams)], clips(streams, 20), workers=workers)
    assert seen == [list(map(float, range(20)))] * streams
    assert (found.streams, found.workers, found.frames) == (streams, workers, 20 * streams)


def test_rates() -> None:
    found = Throughput(streams=8, workers=2, frames=100, seconds=4.0)
    assert (found.frames_per_second, found.per_core) == (25.0, 12.5)


def test_error_in_a_stream_is_not_lost() -> None:
    """Else a broken engine would look fast."""

    def fail(feeds: Feeds) -> None:
        raise mquans.FrameError("broken")

    with pytest.raises(mquans.FrameError, match="broken"):
        throughput([fail, fail], clips(2, 3), workers=2)


def test_streams_of_a_session_side_by_side_keep_their_bits(
    session: mquans.Session, small_frames: Frames
) -> None:
    alone = session.stream()
    for frame in small_frames[:, None]:
        expected = alone.step(frame)["y"]
    streams = [session.stream() for _ in range(6)]
    frames = [{"x": frame} for frame in small_frames[:, None]]
    throughput([stream.step for stream in streams], [frames] * 6, workers=3)
    for stream in streams:
        assert np.array_equal(stream.outputs()["y"], expected)
