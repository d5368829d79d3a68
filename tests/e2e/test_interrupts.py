"""Ctrl-C and termination in the middle of a run."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from .conftest import command


def as_from_a_terminal() -> None:
    """Jobs in the background begin with interrupts ignored, those under nohup with hangups."""
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_DFL)


@pytest.fixture
def long_clip(tmp_path: Path, clip: Path) -> Path:
    """More frames than are computed before the signal comes."""
    path = tmp_path / "long.npy"
    np.save(path, np.tile(np.load(clip), (1000, 1, 1, 1)))
    return path


@pytest.mark.parametrize(
    ("sent", "code", "said"),
    [
        (signal.SIGINT, 130, "mquans: stopped"),
        (signal.SIGTERM, 143, ""),
        (signal.SIGHUP, 129, ""),
    ],
)
def test_stopped_run_says_so_and_leaves_nothing(
    tmp_path: Path,
    small_model: Path,
    plan: Path,
    long_clip: Path,
    environment: dict[str, str],
    sent: signal.Signals,
    code: int,
    said: str,
) -> None:
    """Exit codes as shells know them; the output is whole or absent."""
    folder = tmp_path / "work"
    folder.mkdir()
    process = subprocess.Popen(
        [*command(), "run", small_model, "--plan", plan, "--source", long_clip, "-o", "out.npz"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=as_from_a_terminal,
    )
    assert process.stdout is not None
    for _ in range(5):
        assert process.stdout.readline().startswith("frame ")
    assert any(folder.iterdir())
    process.send_signal(sent)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert errors.startswith(said)
    assert "Traceback" not in errors
    assert list(folder.iterdir()) == []


def test_hangup_is_ignored_under_nohup(
    tmp_path: Path,
    small_model: Path,
    plan: Path,
    long_clip: Path,
    environment: dict[str, str],
) -> None:
    """Whoever starts a night's run so wants it to go on when the terminal is closed."""
    process = subprocess.Popen(
        [*command(), "run", small_model, "--plan", plan, "--source", long_clip],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("frame ")
    process.send_signal(signal.SIGHUP)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")


def test_state_continues_in_another_process(
    tmp_path: Path, small_model: Path, plan: Path, clip: Path
) -> None:
    """A stream saved by one process goes on in the next with the same bits."""
    saving = (
        "import sys, numpy as np, mquans\n"
        "model, plan, clip, state, out, part = sys.argv[1:]\n"
        "frames = np.load(clip)[:, None]\n"
        "session = mquans.Session(model, plan)\n"
        "stream = session.stream() if part != 'second' else session.restore(state)\n"
        "chosen = {'whole': frames, 'first': frames[:10], 'second': frames[10:]}[part]\n"
        "outputs = [stream.step(frame)['y'] for frame in chosen]\n"
        "stream.save(state)\n"
        "np.save(out, np.stack(outputs))\n"
    )
    found = {}
    for part in ("whole", "first", "second"):
        state = tmp_path / ("whole.state" if part == "whole" else "stream.state")
        out = tmp_path / f"{part}.npy"
        subprocess.run(
            [sys.executable, "-c", saving, small_model, plan, clip, state, out, part], check=True
        )
        found[part] = np.load(out)
    continued = np.concatenate([found["first"], found["second"]])
    np.testing.assert_array_equal(continued.view(np.uint32), found["whole"].view(np.uint32))
