"""Four RTSP cameras and a server with two workers, and what is seen of them from outside."""

from __future__ import annotations

import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from math import isnan
from pathlib import Path
from typing import Any

from mquans.serve.process import resident_bytes

from ..e2e.serving import Server, free_port, spots_config
from ..spots import write_model, write_plan

FPS = 5
PERIOD_S = 1 / FPS
SYSTEM_PYTHON = "/usr/bin/python3"


class RtspCamera:
    """A camera in a process of its own: it can be stopped, ended, and begun again."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"rtsp://127.0.0.1:{self.port}/sub"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        script = Path(__file__).with_name("rtsp_camera.py")
        self._process = subprocess.Popen(
            [SYSTEM_PYTHON, str(script), str(self.port), str(FPS)], stderr=subprocess.DEVNULL
        )

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Watch:
    """Looks at all cameras ten times a second.

    Attributes:
        frames: times at which each camera's last frame was computed.
        epochs: of each camera's owner, whenever it was looked at.
    """

    def __init__(self, server: Server) -> None:
        self.frames: dict[str, list[float]] = {}
        self.epochs: dict[str, list[int]] = {}
        self._server, self._over = server, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def worst_gap_s(self, names: list[str], since: float) -> float:
        """Longest time without a frame of any of these cameras."""
        gaps = [0.0]
        for name in names:
            times = [at for at in self.frames.get(name, []) if at >= since]
            gaps += [late - early for early, late in pairwise(times)]
        return max(gaps)

    def end(self) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.1):
            try:
                cameras = self._server.json("/api/cameras")["cameras"]
            except (OSError, AssertionError):
                continue
            for camera in cameras:
                self.epochs.setdefault(camera["name"], []).append(camera["epoch"])
                times = self.frames.setdefault(camera["name"], [])
                if camera["time"] and (not times or times[-1] != camera["time"]):
                    times.append(camera["time"])


class Scene:
    """What a drill is given."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model = write_model(folder / "spots.onnx")
        self.plan = write_plan(self.model, folder / "spots.plan.json")
        self.cameras = {f"c{number}": RtspCamera() for number in range(4)}

    def config(self, **server: Any) -> dict[str, Any]:
        found = spots_config(self.folder, self.model, self.plan)
        found["defaults"] = {"model": "spots", "fps": FPS}
        found["server"] |= {"workers": 2, **server}
        found["cameras"] = {name: camera.url for name, camera in self.cameras.items()}
        return found

    def start_cameras(self) -> None:
        for camera in self.cameras.values():
            camera.start()
        time.sleep(1)

    @contextmanager
    def serving(self, config: dict[str, Any] | None = None, *names: str) -> Iterator[Server]:
        """A server whose cameras (all, if none are named) are live."""
        server = Server(self.folder, self.config() if config is None else config)
        try:
            server.until_ready()
            server.until_live(*(names or tuple(server.config["cameras"])))
            yield server
        finally:
            server.process.kill()
            server.process.wait()


@contextmanager
def scene() -> Iterator[Scene]:
    with tempfile.TemporaryDirectory(prefix="mquans-drill-") as folder:
        made = Scene(Path(folder))
        try:
            yield made
        finally:
            for camera in made.cameras.values():
                camera.end()


def resident_mb(*pids: int) -> float:
    """Memory of processes; of one that has just ended none."""
    return sum(size for pid in pids if not isnan(size := resident_bytes(pid))) / 1e6


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def settled(value: Callable[[], float], within_s: float = 15.0) -> float:
    """The largest of some readings: memory goes up and down."""
    readings = []
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        readings.append(value())
        time.sleep(0.5)
    return max(readings)
