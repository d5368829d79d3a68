"""Training lowers the loss and leaves files that the rest of the package takes as they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnxruntime
import pytest

from mquans.errors import MquansError
from mquans.metrics.labels import load_labels

torch = pytest.importorskip("torch")

from mquans_studies.zoo import AcousticMlp, train  # noqa: E402
from mquans_studies.zoo.__main__ import main  # noqa: E402
from mquans_studies.zoo.recipes import make_task  # noqa: E402
from mquans_studies.zoo.training import Labelled, Task, fit  # noqa: E402


class MadeUp(Task):
    """A small acoustic model and one batch of windows, whose class is their largest of four
    values."""

    steps = 30
    learning_rate = 1e-2
    outputs = ("scores",)
    notes: ClassVar[Mapping[str, Any]] = {"split": "none"}

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.network = AcousticMlp(4, width=16, dropout=0)
        self.windows = torch.randn(64, 440)
        self.wanted = self.windows[:, :4].argmax(-1)
        self.inputs = {"window": self.windows[:1]}

    def loss(self, progress: float) -> Any:
        return torch.nn.functional.cross_entropy(self.network(self.windows), self.wanted)

    def accuracy(self) -> dict[str, float]:
        found = self.network(self.windows).argmax(-1)
        return {"accuracy": float((found == self.wanted).float().mean())}

    def held_out(self) -> Labelled:
        return Labelled(
            self.windows[:, None].numpy(), self.wanted.tolist(), ["a"] * 32 + ["b"] * 32
        )

    def calibration(self) -> Labelled:
        return Labelled(self.windows[:8, None].numpy(), self.wanted[:8].tolist(), ["a"] * 8)


def test_two_steps_lower_the_loss() -> None:
    first, second, third = fit(MadeUp(), steps=3)
    assert third < second < first


def test_a_loss_that_is_no_number_ends_the_training() -> None:
    task = MadeUp()
    task.windows[0] = torch.nan
    with pytest.raises(MquansError, match="diverged"):
        fit(task, steps=2)


def test_files_of_a_training_fit_together(tmp_path: Path) -> None:
    """The model runs on the held-out frames and gives the accuracy of its card."""
    card = train("made-up", MadeUp(), tmp_path / "out", steps=None, seed=0)
    folder = tmp_path / "out"
    assert json.loads((folder / "card.json").read_text())["accuracy"] == card.accuracy
    assert card.macs == card.weights == 440 * 16 + 3 * 16 * 16 + 16 * 4
    assert card.steps == 30
    frames = np.load(folder / "test.npy")
    labels = load_labels(folder / "test_labels.jsonl")
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    found = [session.run(None, {"window": frame})[0].argmax() for frame in frames]
    assert card.accuracy["accuracy"] > 0.5
    blocks = load_labels(folder / "test_blocks.jsonl")
    assert blocks == ["a"] * 32 + ["b"] * 32, "what intervals of confidence draw"
    planned = load_labels(folder / "calibration_labels.jsonl")
    assert len(planned) == len(np.load(folder / "calibration.npy")) == 8
    assert np.mean(np.equal(found, labels)) == pytest.approx(card.accuracy["accuracy"], abs=1e-4)


def test_unknown_networks_are_named_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(MquansError, match=r"'alexnet'.*autopilot.*c3d"):
        make_task("alexnet", tmp_path)


def test_the_command_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence, no traceback."""
    arguments = ["zoo", "train", "autopilot", "--data", str(tmp_path), "-o", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", arguments)
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("mquans: ")
    assert "labels.csv" in said
    assert not (tmp_path / "out").exists()
