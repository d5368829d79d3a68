"""What `calibrate` makes of its options."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mquans.calibration import CalibrationOptions
from mquans.cli.main import run
from mquans.errors import MquansError


@pytest.mark.parametrize(
    ("options", "criticality"), [([], None), (["--criticality", "taylor"], "taylor")]
)
def test_how_neurons_are_weighed_is_left_to_calibration(
    monkeypatch: pytest.MonkeyPatch, options: list[str], criticality: str | None
) -> None:
    """Whose default depends on the network."""
    given: list[CalibrationOptions] = []

    def calibrate(model: object, source: object, options: CalibrationOptions, **_: object) -> None:
        given.append(options)
        raise MquansError("enough seen.")

    monkeypatch.setattr("mquans.calibration.calibrate_fully", calibrate)
    assert run(["calibrate", "m.onnx", "--source", "x", "-o", "p", *options]) == 1
    assert given[0].criticality == criticality


@pytest.mark.parametrize(
    "line",
    [
        "calibrate m.onnx --source clip.npy -o m.onnx",
        "calibrate m.onnx --source clip.npy -o clip.npy",
        "calibrate m.onnx --source clip.npy -o p.json --labels l.csv:steering --report l.csv",
        "run m.onnx --plan p.json --source clip.npz -o clip.npz",
    ],
)
def test_commands_do_not_write_over_what_they_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("m.onnx", "clip.npy", "clip.npz", "l.csv"):
        Path(name).write_bytes(b"precious")
    assert run(line.split()) == 1
    assert "would be overwritten" in capsys.readouterr().err
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {b"precious"}


@pytest.mark.parametrize(
    "line",
    [
        "calibrate m.onnx --source - -o p.json --report r.html",
        "calibrate m.onnx --source pipe -o p.json --report r.html",
        "compare m.onnx --plan p.json --source - --energy",
        "simulate m.onnx --plan p.json --source -",
    ],
)
def test_what_reads_twice_needs_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], line: str
) -> None:
    """Said before the work, not behind it."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    assert run(line.split()) == 1
    assert "can be read only once" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--method approxann", "method"),
        ("--criticality fisher", "criticality"),
        ("--objective time", "objective"),
        ("--accelerator eyeriss", "accelerator"),
        ("--compare all", "compare"),
        ("--best", "--best"),
    ],
)
def test_what_only_a_budget_uses_needs_one(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, flags: str, said: str
) -> None:
    """Left out in silence, it would be taken for done."""
    line = f"calibrate m.onnx --source x.npy -o {tmp_path}/p.json {flags}"
    assert run(line.split()) == 1
    message = capsys.readouterr().err
    assert said in message
    assert "max" in message


def test_labels_need_a_metric(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """They would be read, and forgotten."""
    (tmp_path / "l.csv").write_text("steering\n1\n")
    line = f"calibrate m.onnx --source x.npy -o {tmp_path}/p.json --labels {tmp_path}/l.csv"
    assert run([*line.split(), "--max-loss", "0.1"]) == 1
    assert "without a metric" in capsys.readouterr().err
