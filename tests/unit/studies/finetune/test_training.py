"""Fine-tuning makes a network bear fewer bits, and gives back a model that runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import mquans
from mquans.baselines import open_engine
from mquans.calibration.allocation import uniform_layers
from mquans.calibration.context import observe, open_context
from mquans.errors import MquansError
from mquans.onnx import import_model, read_model
from mquans.plan import NetworkOptions, Rule

torch = pytest.importorskip("torch")

from mquans_studies.finetune import finetune  # noqa: E402
from mquans_studies.finetune.network import Network  # noqa: E402

Frames = npt.NDArray[np.float32]
SETTINGS = {"epochs": 6, "sequence": 5, "batch": 2, "learning_rate": 3e-2}


def plan_at(model: Path, frames: Frames, bits: int, rule: Rule = "hold") -> mquans.Plan:
    """Value by value, which is what training simulates."""
    context = open_context(model, frames)
    seen = observe(context, late=0.25, least=4, rules=())
    return context.plan(uniform_layers(context.graph, seen.ranges, bits=bits), rule)


@pytest.mark.parametrize("rule", ["hold", "nearest"])
def test_what_is_trained_is_what_runs(small_model: Path, small_frames: Frames, rule: Rule) -> None:
    """The simulated stream gives the engine's outputs, up to the fine grid."""
    plan = plan_at(small_model, small_frames, 5, rule=rule)
    graph = import_model(read_model(small_model))
    with torch.no_grad():
        feeds = {"x": torch.from_numpy(small_frames[:, None])}
        network = Network(graph, plan)
        simulated = network.run(feeds).outputs["y"].numpy()
        exact = network.run(feeds, quantized=False).outputs["y"].numpy()
    with mquans.Session(small_model, plan).stream() as stream:
        ran = np.stack([stream.step(frame[None])["y"] for frame in small_frames])
    dense = open_engine("ort-fp32", read_model(small_model), NetworkOptions({"x": (1, 3, 16, 16)}))
    np.testing.assert_allclose(exact[3], dense.step({"x": small_frames[3:4]})["y"], atol=1e-5)
    quantization_error = np.square(ran - exact).mean()
    assert np.square(simulated - ran).mean() < 0.1 * quantization_error


def test_plans_with_gates_cannot_be_simulated(small_model: Path, small_frames: Frames) -> None:
    plan = mquans.calibrate(small_model, small_frames)
    with pytest.raises(MquansError, match="value by value"):
        finetune(small_model, plan, small_frames, **SETTINGS)


def test_a_coarse_plan_loses_less_after_training(small_model: Path, small_frames: Frames) -> None:
    """Without labels the network learns to give its own old outputs."""
    plan = plan_at(small_model, small_frames, 3)
    found = finetune(small_model, plan, small_frames, **SETTINGS)
    assert len(found.losses) == SETTINGS["epochs"]
    assert found.losses[-1] < 0.9 * found.losses[0]


def test_a_weight_on_work_leaves_less_of_it(small_model: Path, small_frames: Frames) -> None:
    plan = plan_at(small_model, small_frames, 6)
    plain = finetune(small_model, plan, small_frames, **SETTINGS)
    frugal = finetune(small_model, plan, small_frames, work=10.0, **SETTINGS)
    assert frugal.work[-1] < plain.work[-1]


def test_the_result_is_calibrated_and_run_as_any_model(
    small_model: Path, small_frames: Frames, tmp_path: Path
) -> None:
    """Saved as ONNX; the old plan is refused for it."""
    plan = plan_at(small_model, small_frames, 4)
    found = finetune(small_model, plan, small_frames, **SETTINGS)
    path = tmp_path / "tuned.onnx"
    found.save(path)
    with pytest.raises(mquans.PlanError, match="another model"):
        mquans.Session(path, plan)
    again = plan_at(path, small_frames, 4)
    assert len(again.layers) == len(plan.layers)
    mquans.Session(path, again).stream().step(small_frames[:1])


def test_labels_and_a_loss_of_ones_own(small_model: Path, small_frames: Frames) -> None:
    plan = plan_at(small_model, small_frames, 6)
    labels = small_frames.mean(axis=(1, 2, 3))

    def loss(outputs: dict[str, Any], wanted: Any) -> Any:
        return (outputs["y"].mean((1, 2, 3, 4)) - wanted).abs().mean()

    found = finetune(small_model, plan, small_frames, labels=labels, loss=loss, **SETTINGS)
    assert found.losses[-1] < found.losses[0]


def test_training_repeats(small_model: Path, small_frames: Frames) -> None:
    plan = plan_at(small_model, small_frames, 5)
    first, second = (finetune(small_model, plan, small_frames, **SETTINGS) for _ in range(2))
    assert first.losses == pytest.approx(second.losses, rel=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sequence": 50}, "fewer than one sequence"),
        ({"sequence": 1}, "sequence must be at least 2"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"labels": np.zeros(3)}, "one label per frame"),
        ({"labels": np.zeros((20, 2))}, "loss="),
    ],
)
def test_mistakes_are_explained(
    small_model: Path, small_frames: Frames, options: dict[str, object], message: str
) -> None:
    plan = plan_at(small_model, small_frames, 6)
    with pytest.raises(mquans.MquansError, match=message):
        finetune(small_model, plan, small_frames, **options)  # type: ignore[arg-type]


def test_frames_of_another_shape_are_refused(small_model: Path, small_frames: Frames) -> None:
    plan = plan_at(small_model, small_frames, 6)
    frames = [*small_frames[:18], small_frames[0, :, :8], small_frames[0]]
    with pytest.raises(mquans.FrameError, match="frame 18"):
        finetune(small_model, plan, frames)
