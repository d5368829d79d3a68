"""The command as users run it: the installed script, or forked from a process that loaded it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from .forking import Forker

Run = Callable[..., subprocess.CompletedProcess[str]]


def command() -> list[str]:
    """The console script beside this Python; without an installation, the module."""
    script = Path(sys.executable).parent / "mquans"
    return [str(script)] if script.exists() else [sys.executable, "-m", "mquans"]


@pytest.fixture
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A plain terminal of known width, and a cache away from the user's."""
    return os.environ | {
        "XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache")),
        "COLUMNS": "120",
        "NO_COLOR": "1",
        "TERM": "dumb",
    }


@pytest.fixture(scope="session")
def forker() -> Iterator[Forker]:
    forker = Forker()
    yield forker
    forker.close()


@pytest.fixture
def mquans(tmp_path: Path, environment: dict[str, str], forker: Forker) -> Run:
    """Runs `mquans ARGS` in an empty folder; with options, which go to subprocess.run, the
    installed script itself."""

    def run(*args: object, **options: Any) -> subprocess.CompletedProcess[str]:
        words = list(map(str, args))
        if not options:
            return forker.run(words, tmp_path, environment)
        return subprocess.run(
            [*command(), *words],
            **{
                "cwd": tmp_path,
                "env": environment,
                "capture_output": True,
                "text": True,
                "stdin": subprocess.DEVNULL,
                "timeout": 120,
                **options,
            },
        )

    return run


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory, small_frames: npt.NDArray[np.float32]) -> Path:
    """`small_frames` as a file."""
    path = tmp_path_factory.mktemp("clip") / "frames.npy"
    np.save(path, small_frames)
    return path


@pytest.fixture(scope="session")
def plan(tmp_path_factory: pytest.TempPathFactory, small_model: Path, clip: Path) -> Path:
    """A plan for `small_model`, made by the command."""
    path = tmp_path_factory.mktemp("plan") / "small.plan.json"
    subprocess.run(
        [*command(), "calibrate", small_model, "--source", clip, "-o", path],
        check=True,
        capture_output=True,
    )
    return path


def only_json(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The one object on stdout."""
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def one_sentence(done: subprocess.CompletedProcess[str]) -> str:
    """What a failed command says: one line on stderr, no traceback, nothing on stdout."""
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("mquans: ")
    return lines[0]
