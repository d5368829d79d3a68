"""Many streams on one machine: frames per second over the cores."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter

from mquans.sources.frames import Feeds


@dataclass(frozen=True, slots=True)
class Throughput:
    """Frames of all streams together.

    Attributes:
        workers: threads that took frames, one core each.
        seconds: from the first frame's start to the last one's end.
    """

    streams: int
    workers: int
    frames: int
    seconds: float

    @property
    def frames_per_second(self) -> float:
        """Of all streams together."""
        return self.frames / self.seconds

    @property
    def per_core(self) -> float:
        """Frames per second and worker."""
        return self.frames_per_second / self.workers


def throughput(
    steps: Sequence[Callable[[Feeds], object]],
    clips: Sequence[Sequence[Feeds]],
    *,
    workers: int,
) -> Throughput:
    """Runs each stream over its own clip, frames of one stream in order, streams over threads.

    A free worker takes the stream that has waited longest and computes one frame of it. Python's
    lock is not held while an engine computes, so workers run side by side.

    Args:
        steps: one per stream: takes a frame, whose outputs are dropped.
        clips: frames of each stream.
        workers: threads, at least 1; more than there are streams stay idle.

    Raises:
        Whatever a step raises.
    """
    waiting = deque(
        (step, deque(clip)) for step, clip in zip(steps, clips, strict=True) if len(clip)
    )
    together = threading.Barrier(workers + 1)

    def work() -> int:
        done = 0
        together.wait()
        while True:
            try:
                step, left = waiting.popleft()
            except IndexError:  # the other workers hold the last streams
                return done
            step(left.popleft())
            done += 1
            if left:
                waiting.append((step, left))

    with ThreadPoolExecutor(workers) as pool:
        running = [pool.submit(work) for _ in range(workers)]
        together.wait()
        start = perf_counter()
        frames = sum(future.result() for future in running)
        seconds = perf_counter() - start
    return Throughput(len(steps), workers, frames, seconds)
