"""If these break, two machines step one camera, or a worker is left behind by its supervisor."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator

import pytest

from mquans.serve.hosting import Host, RemoteProcess, Reports, shifted
from mquans.serve.wire import Beat, Counts, Drain, Frame, FromWorker, encode

from .conftest import until


class Left:
    """Counts hosts that have left."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


class Near(Host):
    """A host on this machine that the network to it may be cut off from."""

    def __init__(self, leave: Left, lease_s: float) -> None:
        super().__init__(leave, lease_s)
        self.connected = threading.Event()
        self.connected.set()

    def reports(self) -> Reports:
        self.connected.wait()
        return super().reports()

    def kill(self) -> None:
        self._process.kill()


@pytest.fixture
def left() -> Left:
    return Left()


@pytest.fixture
def host(left: Left) -> Iterator[Near]:
    host = Near(left, lease_s=5.0)
    yield host
    host.kill()


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_remote_worker_is_one_as_any_other(host: Near) -> None:
    """It says that it goes round, takes orders, and its end is noticed."""
    heard: list[FromWorker] = []
    ended = threading.Event()
    process = RemoteProcess(
        lambda: host, lambda _, report: heard.append(report), lambda _: ended.set()
    )
    until(lambda: Beat() in heard)
    assert process.pulse.began
    assert process.pid == host._process.pid
    assert process.resident > 1 << 20
    assert process.spent_s() > 0
    process.send(Drain(0.1))
    assert ended.wait(30)


def test_a_worker_that_nobody_asks_ends_with_its_lease(left: Left) -> None:
    """The supervisor is gone, or cannot be reached: others may have its cameras by then."""
    host = Near(left, lease_s=0.3)
    pid = host.reports().pid
    until(lambda: left.times)
    assert gone(pid)
    assert host.reports().ended


def test_a_worker_that_is_taken_for_lost_is_not_heard_any_more(host: Near, left: Left) -> None:
    """Whoever was cut off and comes back must not speak for a camera that another has."""
    heard: list[FromWorker] = []
    ended: list[float] = []
    process = RemoteProcess(
        lambda: host,
        lambda _, report: heard.append(report),
        lambda _: ended.append(time.monotonic()),
    )
    until(lambda: Beat() in heard)
    host.connected.clear()
    time.sleep(0.6)  # whatever was on its way
    process.kill()
    process.kill()
    count = len(heard)
    assert len(ended) == 1
    host.connected.set()
    until(lambda: gone(process.pid))
    assert len(heard) == count


def test_a_host_that_cannot_be_reached_is_one_that_ended() -> None:
    ended = threading.Event()

    def reach() -> Near:
        raise ConnectionError("no such node")

    RemoteProcess(reach, lambda *_: None, lambda _: ended.set())
    assert ended.wait(30)


def test_times_of_another_machine_become_those_of_this() -> None:
    """Monotonic clocks begin when machines do; latency and age would be days."""
    frame = Frame("a", 1, 5.0, 5.5, 400.0, 0.5, "", None, [], {}, Counts())
    found = shifted(frame, 1000.0)
    assert isinstance(found, Frame)
    assert (found.taken_s, found.done_s) == (1005.0, 1005.5)
    assert shifted(Beat(), 1000.0) == Beat()
    assert encode(found)
