"""If these break, systemd kills a server that works, or keeps one that hangs."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from mquans.serve.systemd import Systemd


@pytest.fixture(params=["file", "abstract"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[socket.socket]:
    """systemd's end of the socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        abstract = request.param == "abstract"
        listener.bind(f"\0mquans-{os.getpid()}" if abstract else str(tmp_path / "notify"))
        listener.settimeout(10)
        yield listener


def environment_of(listener: socket.socket, **more: str) -> dict[str, str]:
    name = listener.getsockname()
    return {"NOTIFY_SOCKET": name if isinstance(name, str) else f"@{name[1:].decode()}"} | more


def heard(listener: socket.socket) -> list[str]:
    """What has come and was not read."""
    found = []
    listener.setblocking(False)
    while True:
        try:
            found.append(listener.recv(1024).decode())
        except BlockingIOError:
            return found


def test_ready_is_said_once_it_is_so_and_then_the_watchdog_is_fed(listener: socket.socket) -> None:
    systemd = Systemd(environment_of(listener, WATCHDOG_USEC="20000"))
    ready = False

    async def start() -> None:
        nonlocal ready
        attending = asyncio.create_task(systemd.attend(lambda: ready))
        await asyncio.sleep(0.05)
        assert heard(listener) == []
        ready = True
        said: list[str] = []
        while len(said) < 4:
            await asyncio.sleep(0.01)
            said += heard(listener)
        assert said[:4] == ["READY=1", *3 * ["WATCHDOG=1"]]
        attending.cancel()

    asyncio.run(asyncio.wait_for(start(), 30))


def test_the_end_is_said(listener: socket.socket) -> None:
    Systemd(environment_of(listener)).stopping()
    assert heard(listener) == ["STOPPING=1"]


def test_without_a_watchdog_only_ready_is_said(listener: socket.socket) -> None:
    systemd = Systemd(environment_of(listener))
    asyncio.run(asyncio.wait_for(systemd.attend(lambda: True), 30))
    assert heard(listener) == ["READY=1"]


@pytest.mark.parametrize(
    ("more", "beat_s"),
    [
        ({"WATCHDOG_USEC": "3000000"}, 1.5),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}, 1.5),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, None),  # another process is watched
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_signs_of_life_come_twice_in_the_time_that_is_allowed(
    more: dict[str, str], beat_s: float | None
) -> None:
    assert Systemd({"NOTIFY_SOCKET": "/run/systemd/notify"} | more).beat_s == beat_s


@pytest.mark.parametrize("address", ["/nobody/listens", "@nobody/listens", "vsock:2:1234"])
def test_a_server_that_nobody_hears_runs(address: str) -> None:
    systemd = Systemd({"NOTIFY_SOCKET": address})
    asyncio.run(asyncio.wait_for(systemd.attend(lambda: True), 30))
    systemd.stopping()


def test_without_systemd_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    systemd = Systemd({"WATCHDOG_USEC": "20000"})
    monkeypatch.delattr(socket, "socket")
    systemd.stopping()
    assert systemd.beat_s is None
