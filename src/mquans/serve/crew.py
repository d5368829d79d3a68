"""The workers' processes: started, watched, replaced, asked, and ended."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable
from typing import Any, Protocol

from mquans.errors import MquansError
from mquans.serve.process import WorkerProcess
from mquans.serve.pulse import Pulse
from mquans.serve.wire import Beat, Drain, Frame, FromWorker, Inferred, ToWorker

TICK_S = 0.25
STARTING_S = 60.0
"""How long a new worker may take to load its packages."""

BAD_START_S = 3.0
"""A worker that ended sooner is not replaced at once: what ended it may be there still."""

LONGEST_WAIT_S = 10.0

SPARE_AFTER_S = 1.0
"""Until the next one that stands by is started: cameras that come back need the machine first."""


class Process(Protocol):
    """A worker's process, here or elsewhere."""

    pulse: Pulse

    @property
    def pid(self) -> int: ...

    @property
    def resident(self) -> float: ...

    def spent_s(self) -> float: ...

    def send(self, order: ToWorker) -> None: ...

    def kill(self) -> None: ...


class Worker:
    """A place for cameras: its present process, and how often that was replaced.

    Attributes:
        node: the machine of a cluster that it is on.
        retired: that machine is gone.
    """

    def __init__(self, number: int, node: str = "") -> None:
        self.number, self.node = number, node
        self.process: Process | None = None
        self.restarts = 0
        self.retired = False
        self.since_s = self.start_at = 0.0
        self.failures = 0


class Owner(Protocol):
    """Who has the cameras."""

    def hear(self, worker: int, report: FromWorker) -> None:
        """A worker's report of a camera."""

    def lost(self, worker: int) -> None:
        """A worker's process is gone."""

    def replaced(self, worker: int) -> None:
        """A worker has a new process, which has no cameras."""


class Crew:
    """As many workers as are wanted, and one more that has loaded its packages already and takes
    the place of the next that is gone. All methods are for the event loop.

    Args:
        hang_s: how long a worker may stand, or compute, without a sign of life.

    Attributes:
        cameras_wait: for the process that takes the place of the one that is gone; else they go
            to other workers.
    """

    cameras_wait = True

    def __init__(self, count: int, *, hang_s: float, owner: Owner) -> None:
        self.workers = [Worker(number) for number in range(count)]
        self._hang_s, self._owner = hang_s, owner
        self._spare: Process | None = None
        self._ending = False
        self._ended_one = asyncio.Event()
        self._answers: dict[int, tuple[int, asyncio.Future[Inferred]]] = {}
        self._requests = itertools.count(1)

    def start(self) -> None:
        """Starts all processes."""
        self._loop = asyncio.get_running_loop()
        for worker in self.workers:
            self._employ(worker)
        self._watching = asyncio.create_task(self._watch())

    @property
    def ready(self) -> bool:
        """All of them go round."""
        present = [worker for worker in self.workers if not worker.retired]
        return bool(present) and all(map(_goes_round, present))

    @property
    def takers(self) -> list[int]:
        """Workers that cameras may be given to."""
        return [worker.number for worker in self.workers]

    def order(self, worker: int, order: ToWorker) -> None:
        """Hands an order over; without effect while the worker is being replaced."""
        if (process := self.workers[worker].process) is not None:
            process.send(order)

    def pid(self, worker: int) -> int:
        """Of a worker's present process; 0 without any."""
        process = self.workers[worker].process
        return 0 if process is None else process.pid

    async def ask(
        self, worker: int, order: Callable[[int], ToWorker], timeout_s: float
    ) -> Inferred:
        """An answer of a worker.

        Args:
            order: makes the order that bears a number.

        Raises:
            MquansError: there is none, as the worker is gone or too slow.
        """
        process = self.workers[worker].process
        if process is None:
            raise MquansError("the worker is being replaced.", hint="Try again.")
        request = next(self._requests)
        answer: asyncio.Future[Inferred] = self._loop.create_future()
        self._answers[request] = worker, answer
        process.send(order(request))
        try:
            return await asyncio.wait_for(answer, timeout_s)
        except TimeoutError:
            raise MquansError(f"the worker gave no answer within {timeout_s:g} s.") from None
        finally:
            del self._answers[request]

    async def end(self, within_s: float, grace_s: float) -> None:
        """Has all save what they can in a time, and kills those that are there after some grace."""
        self._ending = True
        self._watching.cancel()
        if self._spare is not None:
            self._spare.kill()
        for worker in self.workers:
            self.order(worker.number, Drain(within_s))
        try:
            async with asyncio.timeout(within_s + grace_s):
                while any(worker.process is not None for worker in self.workers):
                    self._ended_one.clear()
                    await self._ended_one.wait()
        except TimeoutError:
            for worker in self.workers:
                if worker.process is not None:
                    worker.process.kill()

    def _callbacks(self) -> tuple[Callable[..., None], Callable[..., None]]:
        """What a process calls for its reports and at its end, from any thread."""

        def later(what: Callable[..., None]) -> Callable[..., None]:
            def call(*arguments: Any) -> None:
                with contextlib.suppress(RuntimeError):  # the loop has ended
                    self._loop.call_soon_threadsafe(what, *arguments)

            return call

        return later(self._hear), later(self._ended)

    def _process_for(self, worker: Worker) -> Process:
        """The one that stands by, or another that has yet to load."""
        found, self._spare = self._spare or WorkerProcess(*self._callbacks()), None
        return found

    def _employ(self, worker: Worker) -> None:
        worker.process = self._process_for(worker)
        worker.since_s = time.monotonic()

    def _replace(self, worker: Worker) -> None:
        self._employ(worker)
        self._owner.replaced(worker.number)

    def _whose(self, process: Process) -> Worker | None:
        return next((worker for worker in self.workers if worker.process is process), None)

    def _hear(self, process: Process, report: FromWorker) -> None:
        worker = self._whose(process)
        if isinstance(report, Beat) or worker is None:
            return
        if isinstance(report, Inferred):
            _, answer = self._answers.get(report.request, (0, None))
            if answer is not None and not answer.done():
                answer.set_result(report)
            return
        if isinstance(report, Frame):
            worker.failures = 0
        self._owner.hear(worker.number, report)

    def _ended(self, process: Process) -> None:
        if process is self._spare:
            self._spare = None
        worker = self._whose(process)
        if worker is None:
            return
        worker.process = None
        self._ended_one.set()
        for number, answer in self._answers.values():
            if number == worker.number and not answer.done():
                gone = MquansError("the worker ended.", hint="Begin the sequence again.")
                answer.set_exception(gone)
        if self._ending:
            return
        if worker.retired:
            self._owner.lost(worker.number)
            return
        lived_s = time.monotonic() - worker.since_s
        worker.failures = worker.failures + 1 if lived_s < BAD_START_S else 0
        worker.restarts += 1
        wait_s = min(LONGEST_WAIT_S, 2.0 ** (worker.failures - 1)) if worker.failures else 0.0
        worker.start_at = time.monotonic() + wait_s
        self._owner.lost(worker.number)
        if not wait_s:
            self._replace(worker)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            now_s = time.monotonic()
            for worker in self.workers:
                if worker.process is None and not worker.retired and now_s >= worker.start_at:
                    self._replace(worker)
            for process in [*(worker.process for worker in self.workers), self._spare]:
                if process is not None:
                    within_s = self._hang_s if process.pulse.began else STARTING_S
                    if process.pulse.hangs(now_s, process.spent_s, within_s):
                        process.kill()
            self._stand_by(now_s)

    def _stand_by(self, now_s: float) -> None:
        """Has one process more, once the others have settled."""
        last_s = max(worker.since_s for worker in self.workers)
        if self._spare is None and self.ready and now_s - last_s > SPARE_AFTER_S:
            self._spare = WorkerProcess(*self._callbacks())


def _goes_round(worker: Worker) -> bool:
    return worker.process is not None and worker.process.pulse.began
