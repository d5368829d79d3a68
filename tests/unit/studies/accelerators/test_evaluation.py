"""The literature's table: errors on tasks, plans without loss, and what is written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from mquans.errors import MquansError
from mquans_studies.accelerators import accelerator_names, evaluation, scores


def test_errors_of_tasks() -> None:
    steering = scores.RootMeanSquare()
    for found, wanted in ((1.0, 1.0), (2.0, 4.0)):
        steering.add({"y": np.array([[found]])}, {}, wanted)
    assert steering.result() == pytest.approx(np.sqrt(2))
    frames = scores.ErrorRate()
    for label in (1, 0, None):
        frames.add({"y": np.array([[0.1, 0.9]])}, {}, label)
    assert frames.result() == 0.5
    words = scores.WordErrorRate()
    for token, label in ((3, None), (0, None), (4, "2 5"), (1, "0")):
        words.add({"y": np.eye(11)[[token]]}, {}, label)
    assert words.result() == pytest.approx(1 / 3), "2 3 for 2 5, then 0 for 0"


def test_no_loss_is_what_the_document_says() -> None:
    tasks = scores.TASKS
    assert tasks["rmse"].no_loss(2.0) == pytest.approx(2.02)
    assert tasks["word_error_rate"].no_loss(0.1) == pytest.approx(0.102)
    assert tasks["top1"].no_loss(0.1) == pytest.approx(0.101)


def test_table_of_a_small_network(
    small_model: Path,
    small_frames: npt.NDArray[np.float32],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(evaluation, "BUDGETS", (0.3,))
    monkeypatch.setattr(evaluation, "WIDTHS", range(4, 6))
    folder = tmp_path / "small"
    folder.mkdir()
    shutil.copy(small_model, folder / "model.onnx")
    clip = np.concatenate([small_frames] * 4)[:, None]
    for stream in ("calibration", "test"):
        np.save(folder / f"{stream}.npy", clip)
        (folder / f"{stream}_labels.jsonl").write_text("\n".join("7" for _ in clip))
    (folder / "card.json").write_text(json.dumps({"accuracy": {"top1": 0.5}}))
    output = tmp_path / "table"
    arguments = [str(tmp_path), "--networks", "small", "--plans", "16", "--frames", "20"]
    monkeypatch.setattr("sys.argv", ["evaluation.py", *arguments, "-o", str(output)])
    evaluation.main()
    found = json.loads(output.with_suffix(".json").read_text())["small"]
    assert found["frames"] == {"plans": 16, "planned": 20, "judged": 20}
    assert found["ours"]["judged_error"] <= found["no_loss_error"]
    assert set(found["chosen_before"]) == {"reuse", "uniform"}
    assert [point["rule"] for point in found["budgets"]] == ["hold", "nearest"]
    designs = accelerator_names()
    pure, fallback = len(evaluation.SCHEMES) + 3, len(evaluation.SCHEMES) + 1
    assert len(found["simulated"]) == (pure + fallback) * len(designs)
    table = output.with_suffix(".md").read_text()
    assert "## Simulated on reuse" in table
    assert table.count("| small |") == 1 + len(designs) + 3, "accuracy, accelerators, engines"
    assert (tmp_path / "table-small.plan.json").exists()
    assert output.with_suffix(".svg").exists()


def test_folder_without_a_network(tmp_path: Path) -> None:
    with pytest.raises(MquansError, match="no trained network"):
        evaluation.load_case(tmp_path, 1)
