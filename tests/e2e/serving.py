"""`mquans serve` in a process of its own, with cameras that it can lose."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from .conftest import command

TOOK_TOO_LONG_S = 180.0
"""Machines are busy, and processes are paused; only a test that fails takes so long."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """A running server.

    Args:
        config: of the file of cameras; `server.bind` is added.
    """

    def __init__(self, folder: Path, config: dict[str, Any], *options: str) -> None:
        self.port = free_port()
        self.file = folder / "cameras.yaml"
        self.config = config
        config.setdefault("server", {})["bind"] = f"127.0.0.1:{self.port}"
        self.write(config)
        self._said = (folder / "said.txt").open("a+")
        self.process = subprocess.Popen(
            [*command(), "serve", str(self.file), *options],
            stdout=self._said,
            stderr=self._said,
            env=os.environ | {"XDG_CACHE_HOME": str(folder / "cache")},
        )

    def write(self, config: dict[str, Any]) -> None:
        self.file.write_text(yaml.safe_dump(config, sort_keys=False))

    def said(self) -> str:
        self._said.seek(0)
        return self._said.read()

    def request(
        self, path: str, body: Any = None, *, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Status and body; a POST if there is a body."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers or {})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def json(self, path: str, body: Any = None) -> Any:
        status, data = self.request(path, body)
        assert status == 200, data
        return json.loads(data)

    def camera(self, name: str) -> Any:
        return self.json(f"/api/cameras/{name}")

    def frames(self, name: str) -> int:
        found: int = self.camera(name)["counters"]["frames"]
        return found

    def until(self, what: Callable[[], object], within_s: float = TOOK_TOO_LONG_S) -> float:
        """Seconds until something was so."""
        began = time.monotonic()
        while True:
            try:
                if what():
                    return time.monotonic() - began
            except (OSError, AssertionError):
                assert self.process.poll() is None, self.said()
            assert time.monotonic() - began < within_s, self.said()
            time.sleep(0.05)

    def until_ready(self) -> float:
        return self.until(lambda: self.request("/readyz")[0] == 200)

    def until_live(self, *names: str) -> float:
        return self.until(lambda: all(self.camera(name)["state"] == "live" for name in names))

    def until_frames(self, name: str, more: int = 1) -> float:
        before = self.frames(name)
        return self.until(lambda: self.frames(name) >= before + more)

    def worker(self, number: int = 0) -> int:
        """Process of a worker, as the metrics have it."""
        lines = self.request("/metrics")[1].decode().splitlines()
        [line] = [
            line
            for line in lines
            if line.startswith("mquans_worker_info{") and f'worker="{number}"' in line
        ]
        return int(line.split('pid="')[1].split('"')[0])

    def workers(self) -> list[int]:
        """Processes that the server has started, the one that stands by among them."""
        found = subprocess.run(
            ["ps", "--ppid", str(self.process.pid), "-o", "pid="], capture_output=True, text=True
        )
        return [int(pid) for pid in found.stdout.split()]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(TOOK_TOO_LONG_S)
        assert "Traceback" not in self.said()
        return code


def spots_config(folder: Path, model: Path, plan: Path) -> dict[str, Any]:
    """Cameras are to be added."""
    face = {"onnx": str(model), "plan": str(plan), "decode": "centerface", "labels": ["spot"]}
    return {
        "server": {"state_dir": str(folder / "state"), "workers": 1},
        "models": {"spots": face},
        "defaults": {"model": "spots", "fps": 50, "retry_s": [0.1, 0.3], "stall_s": 1},
        "cameras": {},
    }
