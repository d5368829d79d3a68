"""Every verb on its happy path, through the shell."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from .conftest import Run, one_sentence, only_json


def test_doctor(mquans: Run) -> None:
    done = mquans("doctor", "--json")
    assert done.returncode == 0
    assert only_json(done)["isa"]
    assert "instruction set" in mquans("doctor").stdout


def test_version(mquans: Run) -> None:
    """Bug reports begin with it."""
    done = mquans("--version")
    if done.returncode:
        pytest.skip("the package is not installed")
    assert done.stdout.startswith("mquans ")


def test_inspect(mquans: Run, small_model: Path) -> None:
    done = mquans("inspect", small_model)
    assert done.returncode == 0
    assert "100.0 % of 0.1 M MACs lie in layers with reuse." in done.stdout
    found = only_json(mquans("inspect", small_model, "--json"))
    assert [node["mode"] for node in found["nodes"]] == ["reuse"] * 3


def test_inspect_with_a_clip(mquans: Run, small_model: Path, clip: Path) -> None:
    done = mquans("inspect", small_model, "--source", clip)
    assert done.returncode == 0
    assert "worth it on this clip" in done.stdout
    found = only_json(mquans("inspect", small_model, "--source", clip, "--json"))
    rows = found["layer_table"]["rows"]
    assert [row["name"] for row in rows] == [
        n["name"] for n in found["nodes"] if n["mode"] == "reuse"
    ]
    assert all(row["time_ms"] >= 0 for row in rows)
    assert found["advice"] == found["layer_table"]["verdict"]


def test_calibrate_with_bits(mquans: Run, small_model: Path, clip: Path, tmp_path: Path) -> None:
    done = mquans(
        "calibrate", small_model, "--source", clip, "--bits", 7, "--rule", "nearest",
        "--weight-bits", 8, "--layers", "-o", "plan.json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Wrote plan.json: 7 bits, rule nearest." in done.stdout
    assert (tmp_path / "plan.json").exists()


def test_calibrate_with_a_budget(mquans: Run, small_model: Path, clip: Path) -> None:
    done = mquans(
        "calibrate", small_model, "--source", clip, "--max-loss", 0.01, "-o", "p", "--json"
    )
    assert done.returncode == 0, done.stderr
    found = only_json(done)
    assert found["reached"]
    assert found["loss"] <= found["budget"] == 0.01
    assert set(found["uniform"]) == {str(bits) for bits in range(5, 11)}


def test_calibrate_with_a_motion_gate(mquans: Run, small_model: Path, clip: Path) -> None:
    """Under a budget only; whoever asks for it with bits is told so."""
    given = ("calibrate", small_model, "--source", clip, "--motion-gate", "-o", "p")
    done = mquans(*given, "--max-loss", 0.3, "--json")
    assert done.returncode == 0, done.stderr
    assert 0 <= only_json(done)["motion_gate"] < 1
    assert "the motion gate is chosen under a budget" in one_sentence(mquans(*given, "--bits", 8))


def test_calibrate_by_a_metric_of_the_users(
    mquans: Run, small_model: Path, clip: Path, tmp_path: Path
) -> None:
    """A function in the folder where the command runs, with labels of its own."""
    (tmp_path / "own.py").write_text(
        "def worst(outputs, dense, label):\n"
        "    assert label >= 0\n"
        "    return float(abs(outputs['y'] - dense['y']).max())\n"
    )
    (tmp_path / "labels.csv").write_text("frame\n" + "\n".join(map(str, range(20))) + "\n")
    args = (
        "calibrate", small_model, "--source", clip, "--max-loss", 0.5, "--metric", "own:worst",
        "--labels", "labels.csv", "--objective", "macs", "--compare", "uniform", "-o", "p",
    )  # fmt: skip
    done = mquans(*args, "--json")
    assert done.returncode == 0, done.stderr
    found = only_json(done)
    assert found["loss"] <= 0.5
    assert set(found["methods"]) == {"uniform"}
    assert found["agreement"]["loss_p95"] != found["loss"]
    assert "metric" in mquans(*args, "--no-stress").stdout


def test_budget_out_of_reach(mquans: Run, small_model: Path, clip: Path, tmp_path: Path) -> None:
    """Exit code 3, and a plan only on request."""
    args = ("calibrate", small_model, "--source", clip, "--max-loss", 1e-12, "-o", "plan.json")
    done = mquans(*args, "--json")
    assert done.returncode == 3
    assert not only_json(done)["reached"]
    assert "the best loss is" in done.stderr
    assert not (tmp_path / "plan.json").exists()
    assert mquans(*args, "--best").returncode == 0
    assert (tmp_path / "plan.json").exists()


def test_run_writes_outputs(
    mquans: Run, small_model: Path, plan: Path, clip: Path, tmp_path: Path
) -> None:
    done = mquans("run", small_model, "--plan", plan, "--source", clip, "--output", "out.npz")
    assert done.returncode == 0, done.stderr
    assert "frame 19: " in done.stdout
    with np.load(tmp_path / "out.npz") as found:
        assert found["y"].shape == (20, 4, 16, 16)
        assert np.isfinite(found["y"]).all()


def test_run_selects_frames(mquans: Run, small_model: Path, plan: Path, clip: Path) -> None:
    done = mquans(
        "run", small_model, "--plan", plan, "--source", clip, "--skip", 2, "--stride", 3,
        "--frames", 4, "--json",
    )  # fmt: skip
    assert only_json(done)["frames"] == 4


def test_run_with_a_guard(mquans: Run, small_model: Path, plan: Path, clip: Path) -> None:
    """One line tells what it saw, JSON all of it; a budget that nothing keeps is no failure."""
    args = ("run", small_model, "--plan", plan, "--source", clip, "--guard", 5)
    found = only_json(mquans(*args, "--max-loss", 0.5, "--json"))["guard"]
    assert (found["checks"], found["violations"], found["every"]) == (4, 0, 5)
    assert [check["frame"] for check in found["log"]] == [4, 9, 14, 19]
    done = mquans(*args, "--max-loss", 1e-9, "--metric", "rmse")
    assert done.returncode == 0, done.stderr
    assert "4 of 4 checks above 1e-09" in done.stdout
    assert "calibrate again" in done.stdout


def test_compare(mquans: Run, small_model: Path, plan: Path, clip: Path) -> None:
    args = ("compare", small_model, "--plan", plan, "--source", clip, "--threads", 2)
    found = only_json(mquans(*args, "--json"))
    assert found["threads"] == 2
    assert found["speedup"].keys() == {"ort-fp32"}
    assert found["agreement"]["rel_sq_mean"] < 0.01
    assert "computation reuse" in mquans(*args).stdout


def test_verify(mquans: Run, small_model: Path, plan: Path, clip: Path) -> None:
    args = ("verify", small_model, "--plan", plan, "--source", clip)
    done = mquans(*args, "--json")
    assert done.returncode == 0
    assert only_json(done) == {
        "format": 2,
        "frames": 20,
        "layers": 3,
        "exact": True,
        "first_violation": None,
        "refused": 0,
    }
    assert mquans(*args).stdout.startswith("Exact")


def test_reader_that_goes_away_is_no_error(
    small_model: Path, plan: Path, clip: Path, environment: dict[str, str]
) -> None:
    """`mquans run ... | head -1` ends quietly."""
    from .conftest import command

    process = subprocess.Popen(
        [*command(), "run", small_model, "--plan", plan, "--source", clip],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=60) == 141
