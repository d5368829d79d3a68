"""A camera in the network that drops, returns, falls silent, and a run that is stopped."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ..mjpeg_camera import MjpegCamera
from .conftest import Run, command

TOOK_TOO_LONG_S = 60


@pytest.fixture
def camera() -> Iterator[MjpegCamera]:
    camera = MjpegCamera()
    yield camera
    camera.switch_off()


@pytest.fixture
def pictures_plan(mquans: Run, small_model: Path, tmp_path: Path) -> Path:
    """A plan for pictures, which `small_model` takes as well as anything."""
    (tmp_path / "sample").mkdir()
    for number in range(8):
        picture = np.full((32, 48, 3), 20 * number, np.uint8)
        Image.fromarray(picture).save(tmp_path / "sample" / f"{number}.png")
    path = tmp_path / "pictures.json"
    args = ("--source", "sample", "--preset", "unit", "-o", path)
    assert mquans("calibrate", small_model, *args).returncode == 0
    return path


class Watching:
    """`mquans run` on a camera, with its frames counted as they come."""

    def __init__(self, camera: MjpegCamera, model: Path, plan: Path, *more: str, **options: Any):
        args = ("run", model, "--plan", plan, "--source", camera.url, "-o", "out.npz", *more)
        self._process = subprocess.Popen(
            [*command(), *map(str, args)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            **options,
        )
        self.lines: list[str] = []
        self.said: list[str] = []
        self._changed = threading.Condition()
        self._readers = [
            threading.Thread(target=self._read, args=pipe, daemon=True)
            for pipe in (
                (self._process.stdout, self.lines),
                (self._process.stderr, self.said),
            )
        ]
        for reader in self._readers:
            reader.start()

    @property
    def frames(self) -> int:
        return sum(line.startswith("frame ") for line in self.lines)

    def wait_for_frames(self, more: int) -> None:
        wanted = self.frames + more
        with self._changed:
            assert self._changed.wait_for(lambda: self.frames >= wanted, TOOK_TOO_LONG_S), self.said

    def wait_for(self, words: str) -> None:
        with self._changed:
            heard = self._changed.wait_for(
                lambda: any(words in line for line in self.said), TOOK_TOO_LONG_S
            )
        assert heard, self.said

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def code(self) -> int:
        code = self._process.wait(TOOK_TOO_LONG_S)
        for reader in self._readers:
            reader.join(TOOK_TOO_LONG_S)
        return code

    def _read(self, pipe: Any, lines: list[str]) -> None:
        for line in pipe:
            with self._changed:
                lines.append(line)
                self._changed.notify_all()


@pytest.fixture
def watch(
    camera: MjpegCamera,
    small_model: Path,
    pictures_plan: Path,
    tmp_path: Path,
    environment: dict[str, str],
) -> Any:
    def start(*more: str) -> Watching:
        return Watching(camera, small_model, pictures_plan, *more, cwd=tmp_path, env=environment)

    return start


def rows(folder: Path) -> int:
    with np.load(folder / "out.npz") as found:
        return len(found["y"])


def test_run_goes_on_each_time_the_camera_returns_and_ctrl_c_keeps_all_outputs(
    camera: MjpegCamera, watch: Any, tmp_path: Path
) -> None:
    """Exit code 0: that is how a run without end ends."""
    run = watch()
    run.wait_for_frames(5)
    for gap in (1, 2):
        camera.switch_off()
        run.wait_for(f"Connecting again (gap {gap})")
        camera.switch_on()
        run.wait_for_frames(5)
    run.send(signal.SIGINT)
    assert run.code() == 0
    assert rows(tmp_path) == run.frames
    assert any(line.startswith("outputs") for line in run.lines)
    assert sum("is back after" in line for line in run.said) == 2
    assert not any(path.name.startswith(".mquans") for path in tmp_path.iterdir())


def test_terminated_run_keeps_its_outputs(watch: Any, tmp_path: Path) -> None:
    """A service that is stopped; its code says that somebody did."""
    run = watch()
    run.wait_for_frames(5)
    run.send(signal.SIGTERM)
    assert run.code() == 143
    assert rows(tmp_path) == run.frames


def test_end_of_a_camera_without_reconnecting_is_an_error_that_keeps_the_outputs(
    camera: MjpegCamera, watch: Any, tmp_path: Path
) -> None:
    run = watch("--no-reconnect")
    run.wait_for_frames(5)
    camera.switch_off()
    assert run.code() == 1
    assert rows(tmp_path) == run.frames
    *_, kept, error = run.said
    assert f"holds the {run.frames} frames before" in kept
    assert error.startswith(f"mquans: {camera.url}: the stream ")
    assert "Traceback" not in "".join(run.said)


def test_so_many_frames_of_a_camera_are_a_success(watch: Any, tmp_path: Path) -> None:
    run = watch("--frames", "3", "--no-reconnect")
    assert run.code() == 0
    assert rows(tmp_path) == run.frames == 3
