"""From a network and frames to a plan that keeps its budget."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import mquans
from mquans.calibration import calibrate_fully, inspect_model, observe
from mquans.calibration.measure import Measured
from mquans.calibration.pipeline import CANDIDATE_BITS
from mquans.engine.oracle import FloatOracle
from mquans.evaluate import Work
from mquans.importers import import_model, read_model

Frames = npt.NDArray[np.float32]
KEYS = {"budget", "reached", "loss", "macs_done_fraction", "pareto", "uniform"}


def test_ranges_are_those_of_every_layers_input(small_model: Path, small_frames: Frames) -> None:
    """Per neuron, over batch, space and frames."""
    graph = import_model(read_model(small_model))
    found = observe(graph, [{"x": frame[None]} for frame in small_frames])
    assert list(found) == ["first", "second", "third"]
    np.testing.assert_array_equal(found["first"].low, small_frames.min(axis=(0, 2, 3)))
    np.testing.assert_array_equal(found["first"].high, small_frames.max(axis=(0, 2, 3)))
    assert (found["second"].low >= 0).all()  # behind a ReLU
    oracle = FloatOracle(graph).run({"x": small_frames[:1]})
    assert oracle["y"].shape == (1, 4, 16, 16)


def test_default_is_eight_bits_hold(small_model: Path, small_frames: Frames) -> None:
    """What the README promises."""
    result = calibrate_fully(small_model, small_frames)
    assert (result.bits, result.plan.rule, result.reached) == (8, "hold", True)
    assert result.plan.layer("first").weight_bits == 16
    assert result.as_dict().keys() >= KEYS
    json.dumps(result.as_dict(), allow_nan=False)


def test_budget_takes_the_fewest_bits_that_keep_it(small_model: Path, small_frames: Frames) -> None:
    """Fewer bits are less work: none below the chosen one may keep the budget."""
    result = calibrate_fully(small_model, small_frames, max_loss=1e-3)
    losses = {bits: found.loss for bits, found in result.sweep.measured.items()}
    assert tuple(losses) == CANDIDATE_BITS
    assert result.reached
    assert losses[result.bits] <= 1e-3
    assert all(loss > 1e-3 for bits, loss in losses.items() if bits < result.bits)


def test_budget_out_of_reach_says_what_was_reached(small_model: Path, small_frames: Frames) -> None:
    """And hands over the best plan only on request."""
    result = calibrate_fully(small_model, small_frames, max_loss=1e-12)
    assert not result.reached
    with pytest.raises(mquans.BudgetError, match="the best loss is") as caught:
        mquans.calibrate(small_model, small_frames, max_loss=1e-12)
    assert caught.value.result.bits == result.bits


def test_more_work_on_the_pareto_curve_always_loses_less(
    small_model: Path, small_frames: Frames
) -> None:
    """Else a point on it would be beaten by its neighbour."""
    front = calibrate_fully(small_model, small_frames, max_loss=1e-3).sweep.pareto
    assert len(front) > 1
    assert front == sorted(front)
    assert [loss for _, loss in front] == sorted((loss for _, loss in front), reverse=True)


def test_plan_is_the_same_for_the_same_frames(small_model: Path, small_frames: Frames) -> None:
    """Calibration is repeatable."""
    first = mquans.calibrate(small_model, small_frames)
    again = mquans.calibrate(small_model, small_frames)
    assert first.layers == again.layers


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
    found = inspect_model(small_model, small_frames)
    values = found.as_dict()
    assert set(values["bits"]) == {"4", "5", "6", "7", "8"}
    assert set(values["bits"]["8"]["layers"]) == {"first", "second", "third"}
    assert "worth it" in values["advice"]
    assert "advice" not in inspect_model(small_model).as_dict()


def test_advice_follows_the_work_left() -> None:
    """Three cases, three sentences."""
    from mquans.calibration import Inspection, Sweep
    from mquans.evaluate import AgreementMeter, Coverage
    from mquans.evaluate.work import LayerWork

    meter = AgreementMeter()
    meter.add({"y": np.ones((1, 2))}, {"y": np.ones((1, 2))})
    sentences = []
    for done in (10, 50, 90):
        work = Work(1, {"layer": LayerWork(10, 1, 100, done)})
        measured = {8: Measured(work, meter.result())}
        sentences.append(Inspection(Coverage((), ()), Sweep({}, measured, 1.0, 1)).advice)
    assert [str(s).split(" worth")[0] for s in sentences] == [
        "Reuse is",
        "Reuse may be",
        "Reuse is hardly",
    ]
