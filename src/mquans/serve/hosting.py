"""A worker on another machine: the half that runs there, and the one that the supervisor has.

The half there lives by a lease, which every question for reports renews. Without a supervisor, or
cut off from it, its worker ends before the supervisor takes it for lost and gives its cameras to
another.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from typing import Protocol

import msgspec
from msgspec.structs import replace

from mquans.serve.process import WorkerProcess
from mquans.serve.pulse import Pulse
from mquans.serve.wire import (
    Beat,
    Frame,
    FromWorker,
    ToWorker,
    decode_order,
    decode_report,
    encode,
)

LEASE_S = 3.0
FIRST_LEASE_S = 60.0
"""Until the first question: a worker that has been asked for nothing has no cameras."""

LOOKED_AT_EVERY_S = 0.25
ANSWERED_WITHIN_S = 0.5
"""Without a report an answer comes after so long, and renews the lease."""


class Reports(msgspec.Struct, frozen=True):
    """What a worker said since it was asked last.

    Attributes:
        now_s: of its machine's monotonic clock, which the times of frames are of.
        pid, resident, spent_s: of its process there, see `WorkerProcess`.
        ended: it is gone, and these were the last.
    """

    now_s: float
    pid: int
    resident: float
    spent_s: float
    ended: bool
    reports: list[bytes]


class Host:
    """Runs a worker on this machine for a supervisor elsewhere, which has to ask for reports again
    within `LEASE_S`.

    Args:
        leave: called when the lease is over and the worker has been ended.
    """

    def __init__(self, leave: Callable[[], None], lease_s: float = LEASE_S) -> None:
        self._leave, self._lease_s = leave, lease_s
        self._said: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._over = threading.Event()
        self._process = WorkerProcess(
            lambda _, report: self._said.put(encode(report)), lambda _: self._over.set()
        )
        self._until_s = time.monotonic() + FIRST_LEASE_S
        threading.Thread(target=self._watch, name="lease", daemon=True).start()

    def order(self, data: bytes) -> None:
        """Hands an encoded order over."""
        self._process.send(decode_order(data))

    def reports(self) -> Reports:
        """Waits a little for reports, and renews the lease."""
        self._until_s = time.monotonic() + self._lease_s
        ended = self._over.is_set()
        said = []
        with contextlib.suppress(queue.Empty):
            said.append(self._said.get(timeout=0 if ended else ANSWERED_WITHIN_S))
            while True:
                said.append(self._said.get_nowait())
        self._until_s = time.monotonic() + self._lease_s
        worker = self._process
        return Reports(time.monotonic(), worker.pid, worker.resident, worker.spent_s(), ended, said)

    def _watch(self) -> None:
        while time.monotonic() < self._until_s:
            time.sleep(LOOKED_AT_EVERY_S)
        self._process.kill()
        self._over.wait()
        self._leave()


class Reached(Protocol):
    """A `Host`, wherever it is. Every call may fail, with whatever error."""

    def order(self, data: bytes) -> None: ...

    def reports(self) -> Reports: ...

    def kill(self) -> None: ...


class RemoteProcess:
    """A worker on another machine, as `WorkerProcess` is one on this.

    Args:
        reach: starts a host; called on a thread, as it takes its time.
        on_report: called with every report, from another thread.
        on_end: called once, from any thread, when it is gone or cannot be reached.
    """

    def __init__(
        self,
        reach: Callable[[], Reached],
        on_report: Callable[[RemoteProcess, FromWorker], None],
        on_end: Callable[[RemoteProcess], None],
    ) -> None:
        self.pid = 0
        self.resident = float("nan")
        self._spent_s = 0.0
        self.pulse = Pulse()
        self._reach, self._on_report, self._on_end = reach, on_report, on_end
        self._orders: queue.SimpleQueue[ToWorker | None] = queue.SimpleQueue()
        self._ending = threading.Lock()
        self._ended = False
        self._asked_s = time.monotonic()
        threading.Thread(target=self._run, name="remote-worker", daemon=True).start()

    def spent_s(self) -> float:
        """CPU time of the thread that steps, as was reported last."""
        return self._spent_s

    def send(self, order: ToWorker) -> None:
        """Hands an order over, some time; without effect once the worker is gone."""
        self._orders.put(order)

    def kill(self) -> None:
        """Takes it for lost. What it says is not heard any more, and its lease is not renewed."""
        with self._ending:
            if self._ended:
                return
            self._ended = True
        self._orders.put(None)
        self._on_end(self)

    def _run(self) -> None:
        # The other machine, or the way there, may break in any way at any time.
        with contextlib.suppress(Exception):
            host = self._reach()
            threading.Thread(
                target=self._write, args=(host,), name="remote-orders", daemon=True
            ).start()
            try:
                self._read(host)
            except Exception:
                # Perhaps only the way there is cut: nobody takes its place before its lease ends.
                passed_s = time.monotonic() - self._asked_s
                time.sleep(max(0.0, ANSWERED_WITHIN_S + LEASE_S - passed_s))
            with contextlib.suppress(Exception):
                host.kill()
        self.kill()

    def _write(self, host: Reached) -> None:
        try:
            while (order := self._orders.get()) is not None:
                host.order(encode(order))
        except Exception:
            self.kill()

    def _read(self, host: Reached) -> None:
        while not self._ended:
            self._asked_s = time.monotonic()
            found = host.reports()
            now_s = time.monotonic()
            self.pid, self.resident, self._spent_s = found.pid, found.resident, found.spent_s
            for data in found.reports:
                report = decode_report(data)
                if isinstance(report, Beat | Frame):
                    self.pulse.beat()
                if not self._ended:
                    self._on_report(self, shifted(report, now_s - found.now_s))
            if found.ended:
                return


def shifted(report: FromWorker, by_s: float) -> FromWorker:
    """With its times of the clock of another machine, which runs ahead by so much."""
    if not isinstance(report, Frame):
        return report
    return replace(report, taken_s=report.taken_s + by_s, done_s=report.done_s + by_s)
