"""The commands that the documents name, on a few frames of the smallest network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ...clips import write_clip
from ...spots import pictures, write_model, write_plan
from .conftest import FOLDER

FEW = ["--frames", "6", "--calibration", "8", "--threads", "1", "--engines", "gated"]


def run(cache: Path, script: str, *arguments: str) -> str:
    finished = subprocess.run(
        [sys.executable, str(FOLDER / script), *arguments],
        env=os.environ | {"XDG_CACHE_HOME": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout


@pytest.fixture
def asked(shared: Path, tmp_path: Path) -> list[str]:
    return ["--json", str(tmp_path / "bench.json"), "--shared", str(shared),
            "--networks", "pilotnet", "--clips", "shuffled", *FEW]  # fmt: skip


def test_pieces_add_up_to_a_record_with_tables(asked: list[str], tmp_path: Path) -> None:
    part = run(tmp_path, "engines.py", *asked, "--phases", "plans,times", "--minutes", "0")
    assert "2 pieces left: run again with --resume" in part
    tables = tmp_path / "bench.md"
    first = run(
        tmp_path, "engines.py", *asked, "--phases", "plans,times", "--markdown", str(tables)
    )
    assert first.count(" ... ") == 2
    assert first.endswith("complete\n")
    record = json.loads((tmp_path / "bench.json").read_text())
    assert set(record["cells"]["pilotnet/shuffled/1"]["engines"]) == {
        "mquans", "mquans-criticality", "mquans-motion-gate", "mquans-dense", "ort-fp32", "gated",
    }  # fmt: skip
    assert (tmp_path / "bench-plans" / "pilotnet-shuffled-uniform.plan.json").is_file()
    assert "| pilotnet/shuffled/1 | " in tables.read_text()
    again = run(tmp_path, "engines.py", *asked, "--phases", "plans,times", "--resume")
    assert " ... " not in again


def test_quick_run_prints_its_row_and_leaves_nothing(shared: Path, tmp_path: Path) -> None:
    found = run(
        tmp_path, "engines.py", "--quick", "--shared", str(shared), "--networks", "pilotnet",
        "--clips", "shuffled", "--frames", "6", "--calibration", "8",
    )  # fmt: skip
    assert "| pilotnet/shuffled/1 | " in found


def test_times_need_plans_and_say_so(asked: list[str]) -> None:
    finished = subprocess.run(
        [sys.executable, str(FOLDER / "engines.py"), *asked, "--phases", "times"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 1
    assert "Run --phases plans first." in finished.stderr
    assert "Traceback" not in finished.stderr


@pytest.fixture
def served(tmp_path: Path) -> list[str]:
    model = write_model(tmp_path / "spots.onnx")
    plan = write_plan(model, tmp_path / "spots.plan.json")
    clip = write_clip(tmp_path / "clip.avi", pictures(40), codec="mjpeg", pixels="yuvj420p")
    return [str(model), "--plan", str(plan), "--source", str(clip), "--decode", "centerface"]


def test_cameras_of_a_server_are_counted(served: list[str], tmp_path: Path) -> None:
    """With so much to do that it falls behind at once."""
    found = run(
        tmp_path, "serving.py", *served, "--fps", "400", "--cameras", "24", "--seconds", "0.5"
    )
    assert "| server, mquans |" in found
    assert "times the cameras of onnxruntime" in found


def test_a_worker_is_compared_with_a_bare_loop(served: list[str], tmp_path: Path) -> None:
    found = run(tmp_path, "serving.py", *served, "--overhead", "--cameras", "2", "--seconds", "1")
    assert "| bare loop |" in found
    assert "| overhead |" in found
