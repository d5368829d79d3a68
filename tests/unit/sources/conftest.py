"""Small clips and pictures with known content, made once per test run."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from ...clips import Picture, write_clip
from ...sender import Sender

TOOK_TOO_LONG_S = 10


@pytest.fixture(scope="session")
def pictures() -> list[Picture]:
    """20 pictures of 48 x 32 pixels in noise; the first pixel of picture i is (i, 2i, 3i)."""
    noise = np.random.default_rng(7).integers(0, 256, (20, 32, 48, 3), dtype=np.uint8)
    noise[:, 0, 0] = np.arange(20)[:, None] * [1, 2, 3]
    return list(noise)


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory, pictures: list[Picture]) -> Path:
    """The pictures as a lossless RGB video."""
    path = tmp_path_factory.mktemp("clip") / "clip [1].mkv"
    return write_clip(path, pictures, codec="ffv1", pixels="bgr0")


@pytest.fixture(scope="session")
def smooth() -> list[Picture]:
    """12 pictures of 64 x 48 pixels: a colour gradient that moves, with camera noise."""
    noise = np.random.default_rng(5).integers(-8, 9, (12, 48, 64))
    x, y = np.meshgrid(np.arange(64), np.arange(48))
    return [
        (np.stack([x * 3 + t, y * 4, 200 - x - y], axis=-1) + noise[t][..., None])
        .clip(0, 255)
        .astype(np.uint8)
        for t in range(12)
    ]


@pytest.fixture(scope="session", params=["avi", "mkv"])
def common_clip(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    smooth: list[Picture],
) -> Path:
    """The gradient as an ordinary lossy YUV video of 120 frames."""
    path = tmp_path_factory.mktemp("common") / f"clip.{request.param}"
    return write_clip(path, smooth * 10, codec="mpeg4", pixels="yuv420p")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory, pictures: list[Picture]) -> Path:
    """The pictures as PNG files."""
    path = tmp_path_factory.mktemp("pictures")
    for number, picture in enumerate(pictures):
        write_clip(path / f"{number}.png", [picture], codec="png", pixels="rgb24")
    return path


@pytest.fixture
def clip_writer(pictures: list[Picture]) -> Callable[[Path, int], None]:
    """Writes so many of the pictures as a lossless video."""

    def write(path: Path, count: int) -> None:
        write_clip(path, pictures[:count], codec="ffv1", pixels="bgr0")

    return write


@pytest.fixture
def sender(tmp_path: Path) -> Iterator[Sender]:
    """At a named pipe. Whoever reads late waits for a while, then fails: senders wait too."""

    def late(*_: object) -> None:
        raise TimeoutError("waited for bytes that were not needed")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(TOOK_TOO_LONG_S)
    yield Sender(tmp_path / "pipe")
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
