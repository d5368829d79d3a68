"""Where results go: a full disk, a closed stdout, a locale that cannot encode them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from .conftest import Run, command, one_sentence

ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


@full
@pytest.mark.parametrize(
    "args",
    [("doctor",), ("doctor", "--json"), ("run", "--help"), ("--help",), ("--version",),
     ("inspect", "MODEL"), ("inspect", "MODEL", "--json")],
)  # fmt: skip
def test_full_disk_under_stdout_is_one_sentence(
    mquans: Run, small_model: Path, args: tuple[str, ...]
) -> None:
    with Path("/dev/full").open("w") as disk:
        done = mquans(*(small_model if arg == "MODEL" else arg for arg in args),
                      stdout=disk, stderr=-1, capture_output=False)  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "mquans: the standard output cannot be written: the disk is full.\n"


@full
def test_frames_that_cannot_be_shown_end_the_run(
    mquans: Run, small_model: Path, plan: Path, clip: Path, tmp_path: Path
) -> None:
    """And leave no output half-written."""
    args = ("run", small_model, "--plan", plan, "--source", clip, "-o", "out.npz")
    with Path("/dev/full").open("w") as disk:
        done = mquans(*args, stdout=disk, stderr=-1, capture_output=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def shell(line: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """A line that begins with the command."""
    return subprocess.run(
        [f"{' '.join(command())} {line}"],
        shell=True,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_closed_stdout_is_one_sentence(environment: dict[str, str]) -> None:
    """What is opened next would be written into by whoever prints."""
    done = shell("doctor >&-", environment)
    assert done.returncode == 1
    assert "the standard output is closed" in one_sentence(done)


@full
@pytest.mark.parametrize("nowhere", [">&-", "> /dev/full"])
def test_errors_that_cannot_be_shown_keep_their_exit_code(
    environment: dict[str, str], nowhere: str
) -> None:
    done = shell(f"inspect none.onnx 2{nowhere}", environment)
    assert (done.returncode, done.stdout) == (1, "")


def test_names_that_the_locale_cannot_encode(
    mquans: Run, small_model: Path, clip: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    """Containers and cron jobs often have none but ASCII."""
    model, source = tmp_path / "gesicht-ü.onnx", tmp_path / "größe.npy"
    shutil.copy(small_model, model)
    shutil.copy(clip, source)
    ascii_only = environment | ASCII
    for args in (
        ("inspect", model, "--source", source),
        ("calibrate", model, "--source", source, "-o", "plän.json"),
        ("run", model, "--plan", "plän.json", "--source", source, "-o", "ö.npz"),
        ("verify", model, "--plan", "plän.json", "--source", source, "--json"),
        ("compare", model, "--plan", "plän.json", "--source", source),
    ):
        done = mquans(*args, env=ascii_only)
        assert (done.returncode, done.stderr) == (0, ""), args
    assert (tmp_path / "ö.npz").exists()
    done = mquans("inspect", "fehlt-ü.onnx", env=ascii_only)
    assert done.returncode == 1
    assert "there is no such file" in one_sentence(done)
