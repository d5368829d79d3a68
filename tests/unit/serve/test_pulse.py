"""If these break, a busy machine ends healthy workers, or one that hangs keeps its cameras."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time

import pytest

from mquans.serve import crew, pulse
from mquans.serve.crew import Crew, Process, Worker
from mquans.serve.pulse import LEAST_SHARE, LONGEST_LOOK_S, Pulse, thread_seconds
from mquans.serve.wire import FromWorker, ToWorker

TICK_S = 0.25
HANG_S = 4.0


class Looks:
    """Looks at a pulse every 0.25 s of a made-up clock."""

    def __init__(self) -> None:
        self.pulse = Pulse()
        self.now_s, self.spent_s = time.monotonic(), 0.0
        self.pulse.beat()
        self.look()

    def look(self, share: float = 0.0, after_s: float = TICK_S) -> bool:
        """Does it hang, now that its thread has computed for a share of some time?"""
        self.now_s += after_s
        self.spent_s += share * after_s
        return self.pulse.hangs(self.now_s, lambda: self.spent_s, HANG_S)

    def until_it_hangs(self, share: float, within_s: float = 60.0) -> float:
        """Seconds, or without end."""
        began_s = self.now_s
        while self.now_s - began_s < within_s:
            if self.look(share):
                return self.now_s - began_s
        return float("inf")


def test_a_thread_that_stands_hangs() -> None:
    """SIGSTOP, or a lock that nobody gives back."""
    assert HANG_S < Looks().until_it_hangs(share=0) <= HANG_S + TICK_S


def test_a_thread_that_waits_for_pythons_lock_hangs() -> None:
    """It wakes now and then, which is no progress."""
    assert Looks().until_it_hangs(share=0.004) < 2 * HANG_S


def test_a_thread_that_gets_little_of_a_busy_machine_does_not_hang() -> None:
    """Its step takes a minute where it would take 1.2 s."""
    assert Looks().until_it_hangs(share=0.02, within_s=60) == float("inf")


def test_a_thread_that_computes_without_end_hangs() -> None:
    """In seconds of CPU time: sooner on an idle machine than on a busy one."""
    assert HANG_S <= Looks().until_it_hangs(share=1) <= HANG_S + 2 * TICK_S
    assert 2 * HANG_S <= Looks().until_it_hangs(share=0.5) <= 2 * HANG_S + 2 * TICK_S


def test_signs_of_life_count_from_the_last_one() -> None:
    looks = Looks()
    for share in (0.0, 1.0):
        for _ in range(50):
            assert not looks.look(share)
            looks.pulse.beat()
        assert HANG_S <= looks.until_it_hangs(share) <= HANG_S + 3 * TICK_S
        looks.pulse.beat()
        looks.look()


def test_a_watcher_that_stood_itself_blames_nobody() -> None:
    """A container that was frozen goes on with the workers that it had."""
    assert HANG_S > LONGEST_LOOK_S
    assert not Looks().look(after_s=600)


def test_where_cpu_time_is_not_told_silence_is_what_counts() -> None:
    assert thread_seconds(1 << 30) == 0
    assert Looks().until_it_hangs(share=0) < float("inf")


def test_cpu_time_is_that_of_the_first_thread() -> None:
    """The others of a worker read cameras, and go on while its steps hang."""
    code = (
        "import threading, time\n"
        "def spin():\n"
        "    while time.process_time() < 0.5: pass\n"
        "other = threading.Thread(target=spin); other.start(); other.join()\n"
        "print(time.thread_time(), flush=True); input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        own_s = float(process.stdout.readline())
        found_s = thread_seconds(process.pid)
        process.communicate("\n")
    assert own_s <= found_s < own_s + 0.2
    assert thread_seconds(os.getpid()) > 0


class Scripted:
    """A worker that gave a sign of life once, and whose thread then computes or does not.

    Args:
        look_s: CPU time from one look to the next.
    """

    pid, resident = 0, 0.0

    def __init__(self, look_s: float) -> None:
        self.pulse = Pulse()
        self.pulse.beat()
        self.killed = False
        self._look_s, self._spent_s = look_s, 0.0

    def spent_s(self) -> float:
        self._spent_s += self._look_s
        return self._spent_s

    def send(self, order: ToWorker) -> None: ...

    def kill(self) -> None:
        self.killed = True


class Nobody:
    def hear(self, worker: int, report: FromWorker) -> None: ...

    def lost(self, worker: int) -> None: ...

    def replaced(self, worker: int) -> None: ...


def test_of_two_silent_workers_only_the_one_that_stands_is_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(crew, "TICK_S", 0.01)
    monkeypatch.setattr(pulse, "LONGEST_LOOK_S", 0.1)  # also where this test stands still
    workers = [Scripted(look_s=0), Scripted(look_s=0.1 * LEAST_SHARE)]

    class Two(Crew):
        def _process_for(self, worker: Worker) -> Process:
            return workers[worker.number]

        def _stand_by(self, now_s: float) -> None: ...

    async def drill() -> None:
        two = Two(2, hang_s=0.3, owner=Nobody())
        two.start()
        while not workers[0].killed:
            await asyncio.sleep(0.01)
        two._watching.cancel()

    asyncio.run(asyncio.wait_for(drill(), 30))
    assert not workers[1].killed
