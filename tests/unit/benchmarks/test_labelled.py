"""`benchmarks/labelled.py`: labels lie on what the network finds, and rows are complete."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mquans
from mquans.errors import MquansError

pytest.importorskip("pycocotools")


def run(monkeypatch: pytest.MonkeyPatch, shared: Path, file: Path, *more: str) -> dict[str, Any]:
    import labelled

    argv = ["labelled.py", "--shared", str(shared), "--engines", "", "--calibration", "0:2"]
    argv += ["--frames", "240:244", "--json", str(file), *more]
    monkeypatch.setattr(sys, "argv", argv)
    assert labelled.main() == 0
    record: dict[str, Any] = json.loads(file.read_text())
    return record["labelled"]["yolox/vtest/1"]


def test_network_finds_the_labelled_persons(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Preparation, decoder, frame numbers and scale of the labels fit each other: with labels of
    the next frame, average precision falls from 1 to 0.6."""
    found = run(monkeypatch, shared, tmp_path / "found.json")
    row = found["engines"]["ort-fp32"]
    assert row["ap50"] > 0.95
    assert (row["f1"], row["speedup"], row["macs_fraction"]) == (1, 1, None)
    assert row["time_ms"]["median"] > 0


def test_picture_lies_as_yolox_was_trained(shared: Path) -> None:
    """At the top left, over a border of 114. Centred it finds nearly as much, which hides it."""
    import labelled

    [feeds], _ = labelled.load(range(240, 241), shared)
    picture = feeds["images"]
    assert (picture[:, :, 312:] == 114).all()
    assert (picture[:, :, :312] != 114).mean() > 0.9


def test_plan_stands_beside_the_engines(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the work that is left; a second plan of the same name does not hide the first."""
    import labelled

    from mquans_studies.cases.segments import Segment

    model = labelled.TARGET.model(shared)
    frames = Segment("vtest", 0, 4).load("yolox", shared)
    plan = mquans.calibrate(
        model, frames, bits=10, input_shapes=labelled.TARGET.shapes, input={"preset": "pixels"}
    )
    files = [tmp_path / folder / "yolox.plan.json" for folder in ("a", "b")]
    for file in files:
        file.parent.mkdir()
        plan.save(file)
    more = [part for file in files for part in ("--plan", str(file))]
    rows = run(monkeypatch, shared, tmp_path / "found.json", *more)["engines"]
    assert list(rows) == ["ort-fp32", "yolox", str(files[1])]
    assert rows["yolox"]["ap50"] > 0.9
    assert 0 < rows["yolox"]["macs_fraction"] < 1


def test_plan_with_another_preparation_is_refused(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its ranges are of other pictures: it would be judged for what it was not made for."""
    import labelled

    model = labelled.TARGET.model(shared)
    clip = np.zeros((4, 20, 30, 3), np.uint8)
    plan = mquans.calibrate(model, clip, bits=8, input={"preset": "pixels", "color": "bgr"})
    plan.save(tmp_path / "p.json")
    with pytest.raises(MquansError, match="--anchor top_left"):
        run(monkeypatch, shared, tmp_path / "found.json", "--plan", str(tmp_path / "p.json"))


def test_frames_without_labels_are_refused(shared: Path) -> None:
    """Beyond frame 399 everything would count as wrong."""
    import labelled

    with pytest.raises(MquansError, match="400 frames"):
        labelled.load(range(390, 401), shared)


def test_parts_of_a_clip_are_written_as_slices() -> None:
    import labelled

    assert labelled.span("81:400") == range(81, 400)
    for text in ("81", "5:5", "a:b", "9:3", "-1:4", ":4"):
        with pytest.raises(argparse.ArgumentTypeError, match="81:400"):
            labelled.span(text)
