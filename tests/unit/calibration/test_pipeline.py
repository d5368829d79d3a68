"""From a network and frames to a plan that keeps its budget."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from onnx import TensorProto, helper, numpy_helper

import mquans
from mquans.calibration import METHODS, CalibrationOptions, calibrate_fully, inspect, plans_within
from mquans.errors import MquansError

Frames = npt.NDArray[np.float32]
Outputs = Mapping[str, Frames]
KEYS = {"budget", "reached", "loss", "macs_done_fraction", "pareto", "uniform"}


def test_default_is_eight_bits_hold(small_model: Path, small_frames: Frames) -> None:
    """What the README promises."""
    result = calibrate_fully(small_model, small_frames)
    assert (result.bits, result.plan.rule, result.reached) == (8, "hold", True)
    assert [tensor.name for tensor in result.plan.tensors] == ["x", "b", "d", "y"]
    assert result.as_dict().keys() >= KEYS
    json.dumps(result.as_dict(), allow_nan=False)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_keeps_the_budget_on_frames_that_chose_nothing(
    small_model: Path, small_frames: Frames, method: str
) -> None:
    """The one promise of a budget: value by value, as accelerators have it."""
    (result,) = plans_within(
        (0.05,), small_model, small_frames, CalibrationOptions(method=method, frames=20)
    )
    assert result.reached
    assert result.measured.loss <= 0.05
    assert result.stress is not None
    assert result.stress.loss <= 0.05
    assert (result.bits is not None) == (method in ("uniform", "linear", "dorefa"))
    assert result.plan.rule == ("nearest" if method in ("linear", "dorefa") else "hold")
    json.dumps(result.as_dict(), allow_nan=False)


def test_plan_does_hardly_more_work_than_the_fewest_bits_that_keep_the_budget(
    small_model: Path, small_frames: Frames
) -> None:
    """Not even here, where nothing but a square moves and there is next to nothing to gain."""
    plan = calibrate_fully(small_model, small_frames, max_loss=0.05)
    uniform = calibrate_fully(small_model, small_frames, max_loss=0.05, method="uniform")
    assert plan.measured.moving.macs_done <= 1.1 * uniform.measured.moving.macs_done


def test_uniform_bits_are_measured_beside_the_plan(small_model: Path, small_frames: Frames) -> None:
    """What it is better than belongs beside it."""
    result = calibrate_fully(small_model, small_frames, max_loss=0.05, compare=["uniform"])
    assert tuple(result.uniform) == tuple(range(5, 11))
    assert set(result.stages.compared) == {"uniform"}
    assert result.as_dict().keys() >= KEYS


def test_budget_out_of_reach_says_what_was_reached(small_model: Path, small_frames: Frames) -> None:
    """And hands over the best plan only on request."""
    result = calibrate_fully(small_model, small_frames, max_loss=1e-12)
    assert not result.reached
    assert "out of reach" in result.verdict
    with pytest.raises(mquans.BudgetError, match="the best loss is") as caught:
        mquans.calibrate(small_model, small_frames, max_loss=1e-12)
    assert caught.value.result.plan.tensors == result.plan.tensors


@pytest.mark.parametrize("option", ["method", "criticality", "objective"])
def test_unknown_names_are_named_with_those_that_are_known(
    small_model: Path, small_frames: Frames, option: str
) -> None:
    """Before anything is computed."""
    with pytest.raises(mquans.MquansError, match=r"there is no .* 'best'") as caught:
        calibrate_fully(small_model, small_frames, max_loss=0.1, **{option: "best"})
    assert "Choose one of" in str(caught.value)


def test_budget_of_a_metric_applies_to_the_metric(small_model: Path, small_frames: Frames) -> None:
    """A user who counts faces accepts lost faces, not squared errors."""

    def largest(outputs: Outputs, dense: Outputs, label: object) -> float:
        assert label in range(20)
        return float(np.abs(outputs["y"] - dense["y"]).max())

    result = calibrate_fully(
        small_model, small_frames, max_loss=0.5, metric=largest, labels=list(range(20))
    )
    assert result.reached
    assert result.measured.task is not None
    assert result.measured.loss == result.measured.task <= 0.5
    assert result.measured.task != result.measured.agreement.loss_p95


def test_more_work_on_the_pareto_curve_always_loses_less(
    small_model: Path, small_frames: Frames
) -> None:
    """Else a point on it would be beaten by its neighbour."""
    front = calibrate_fully(small_model, small_frames, max_loss=1e-2).pareto
    assert len(front) > 1
    assert front == sorted(front)
    assert [loss for _, loss in front] == sorted((loss for _, loss in front), reverse=True)


def test_plan_is_the_same_for_the_same_frames(small_model: Path, small_frames: Frames) -> None:
    """Calibration is repeatable."""
    first = mquans.calibrate(small_model, small_frames)
    again = mquans.calibrate(small_model, small_frames)
    assert first.tensors == again.tensors


def test_quiet_clip_is_called_too_quiet(small_model: Path, small_frames: Frames) -> None:
    """A still scene cannot tell a dead stream from a good one."""
    still = np.repeat(small_frames[:1], 12, axis=0)
    still += np.random.default_rng(0).normal(0, 1e-4, still.shape).astype(np.float32)
    assert not calibrate_fully(small_model, still, max_loss=1e-2).tells_frozen
    assert calibrate_fully(small_model, small_frames, max_loss=1e-2).tells_frozen


def test_bits_and_budget_exclude_each_other(small_model: Path, small_frames: Frames) -> None:
    """Which of them should win is not for us to guess."""
    with pytest.raises(mquans.MquansError, match="exclude"):
        calibrate_fully(small_model, small_frames, bits=8, max_loss=0.1)


@pytest.mark.parametrize("bits", [0, 13])
def test_bits_out_of_range(small_model: Path, small_frames: Frames, bits: int) -> None:
    """Named with the range that is allowed."""
    with pytest.raises(mquans.MquansError, match="1 to 12"):
        calibrate_fully(small_model, small_frames, bits=bits)


@pytest.mark.parametrize("loss", [0.0, -1.0, float("nan")])
def test_budget_must_be_positive(small_model: Path, small_frames: Frames, loss: float) -> None:
    """No network keeps a loss of nothing."""
    with pytest.raises(mquans.MquansError, match="greater than 0"):
        calibrate_fully(small_model, small_frames, max_loss=loss)


def test_inspection_with_a_clip_measures_every_layer(
    small_model: Path, small_frames: Frames
) -> None:
    """And ends in one sentence: is it worth it?"""
    found = inspect(small_model, small_frames)
    values = found.as_dict()
    assert set(values["bits"]) == {"4", "5", "6", "7", "8"}
    assert set(values["bits"]["8"]["layers"]) == {"first", "second", "third"}
    assert "worth it" in values["advice"]
    assert values["layer_table"]["bits"] == 8
    assert [row["name"] for row in values["layer_table"]["rows"]] == ["first", "second", "third"]
    assert "advice" not in inspect(small_model).as_dict()


def test_either_rule_is_the_one_that_leaves_less_to_do(
    small_model: Path, small_frames: Frames
) -> None:
    """And bits without a budget say nothing about which rule is better."""
    left = {
        rule: plans_within(
            (0.05,), small_model, small_frames, CalibrationOptions(rule=rule, frames=20)
        )[0]
        for rule in ("hold", "nearest", "either")
    }
    work = {rule: result.measured.work.macs_fraction for rule, result in left.items()}
    assert work["either"] == min(work["hold"], work["nearest"])
    with pytest.raises(MquansError, match="under a budget"):
        calibrate_fully(small_model, small_frames, bits=8, rule="either")


@pytest.mark.parametrize("shape", [(1, 4, 5, 5), (1, 4)])
def test_network_that_makes_nan_is_refused_in_a_sentence(shape: tuple[int, ...]) -> None:
    """The logarithm of what was prepared as if it could not be negative. It ended in a traceback of
    numpy, or in a plan of steps that are NaN."""
    nodes = [("Log", ["x"], "l"), ("Conv" if len(shape) > 2 else "MatMul", ["l", "w"], "y")]
    weight = np.ones((2, 4, 1, 1) if len(shape) > 2 else (4, 2), np.float32)
    graph = helper.make_graph(
        [helper.make_node(kind, inputs, [output]) for kind, inputs, output in nodes],
        "logs",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    frames = np.random.default_rng(0).normal(size=(8, *shape)).astype(np.float32)
    for wanted in ({"bits": 8}, {"max_loss": 0.1}):
        with pytest.raises(MquansError, match="NaN or infinite values of some of these frames"):
            mquans.calibrate(model, list(frames), **wanted)
