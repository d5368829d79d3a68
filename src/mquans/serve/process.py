"""A worker's process as the supervisor has it: orders out, reports in, each on a thread of its own
so that a worker that hangs holds nobody up."""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

from mquans.serve.pulse import Pulse, thread_seconds
from mquans.serve.wire import Beat, Frame, FromWorker, ToWorker, decode_report, encode

LARGEST_REPORT_BYTES = 1 << 28


# glibc would hand the memory of every frame back to the kernel, and have it cleared for the next
# one. Workers tidy up by themselves; one arena, as frames are made by one thread and freed by
# another.
_MEMORY = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
}

# One thread per worker is what cameras are planned for.
_THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def environment() -> dict[str, str]:
    """Of a worker; what is set already stays."""
    return _MEMORY | os.environ | _THREADS


class WorkerProcess:
    """One process, from its start to its end.

    Args:
        on_report: called with every report, from another thread.
        on_end: called once, from another thread, when it is gone.

    Attributes:
        pulse: its signs of life.
    """

    def __init__(
        self,
        on_report: Callable[[WorkerProcess, FromWorker], None],
        on_end: Callable[[WorkerProcess], None],
    ) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "mquans.serve.worker", str(theirs.fileno())]
            self._process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, env=environment()
            )
        self.pulse = Pulse()
        self._connection = Connection(ours.detach())
        self._orders: queue.SimpleQueue[ToWorker | None] = queue.SimpleQueue()
        self._on_report, self._on_end = on_report, on_end
        threading.Thread(target=self._write, name="worker-orders", daemon=True).start()
        threading.Thread(target=self._read, name="worker-reports", daemon=True).start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def resident(self) -> float:
        """Bytes of its memory."""
        return resident_bytes(self.pid)

    def spent_s(self) -> float:
        """CPU time of the thread that steps."""
        return thread_seconds(self.pid)

    def send(self, order: ToWorker) -> None:
        """Hands an order over, some time; without effect once the worker is gone."""
        self._orders.put(order)

    def kill(self) -> None:
        """Ends it at once, also one that is stopped."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def _write(self) -> None:
        while (order := self._orders.get()) is not None:
            try:
                self._connection.send_bytes(encode(order))
            except OSError:
                return

    def _read(self) -> None:
        # Ends with the process: only that has the other end of the socket.
        with contextlib.suppress(EOFError, OSError):
            while True:
                report = decode_report(self._connection.recv_bytes(LARGEST_REPORT_BYTES))
                if isinstance(report, Beat | Frame):  # of the thread that steps
                    self.pulse.beat()
                self._on_report(self, report)
        self.kill()
        self._process.wait()
        self._orders.put(None)
        self._on_end(self)


def resident_bytes(pid: int) -> float:
    """Memory of a process; not a number where it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return float("nan")
    return float(pages * 4096)
