"""Whether a worker goes on or hangs, told by signs of life and by the CPU time of its thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

LONGEST_LOOK_S = 1.0
"""Of the time between two looks, as whoever looks may have stood still with the worker."""

LEAST_SHARE = 0.01
"""Of a core, for a thread that computes on however busy a machine. One that waits for Python's
lock in vain wakes now and then, and takes less than half of that."""


class Pulse:
    """Signs of life of a worker's stepping thread.

    On a busy machine a step takes long, and no sign comes before its end. So a worker is silent for
    too long only if its thread stood, or computed, for so long.

    Attributes:
        began: it has gone round once.
    """

    def __init__(self) -> None:
        self.began = False
        self._beaten = False
        self._looked_s = time.monotonic()
        self._stood_s = 0.0
        # CPU times when it was first silent, and last; few looks need them.
        self._silent_at_s: float | None = None
        self._spent_s = 0.0

    def beat(self) -> None:
        """It goes round. From any thread."""
        self.began = self._beaten = True

    def hangs(self, now_s: float, spent: Callable[[], float], within_s: float) -> bool:
        """To be asked again and again.

        Args:
            now_s: of the monotonic clock.
            spent: gives the CPU time of the thread so far; 0 where that is not known.
            within_s: how long it may stand, and compute, without a sign of life.
        """
        passed_s = min(now_s - self._looked_s, LONGEST_LOOK_S)
        self._looked_s = now_s
        if self._beaten:
            self._beaten = False
            self._stood_s, self._silent_at_s = 0.0, None
            return False
        before_s, self._spent_s = self._spent_s, spent()
        if self._silent_at_s is None:
            before_s = self._silent_at_s = self._spent_s
        computed_s = self._spent_s - before_s
        self._stood_s = max(0.0, self._stood_s + passed_s - computed_s / LEAST_SHARE)
        return self._stood_s > within_s or self._spent_s - self._silent_at_s > within_s


def thread_seconds(pid: int) -> float:
    """CPU time of a process's first thread, in which workers step; 0 where the system does not
    tell."""
    try:
        nanoseconds = Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0]
    except (OSError, IndexError):
        return 0.0
    return int(nanoseconds) / 1e9
