"""The guard: what it sees of a stream that leaves its budget, and what it does about it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import mquans
from mquans.baselines import open_engine
from mquans.evaluate import run_clip
from mquans.onnx import read_model
from mquans.plan import NetworkOptions
from mquans.runtime.guard import AGAIN, LOG, QUIET, Guard
from mquans.runtime.running_loss import LEAST_VALUES, RunningLoss

Frames = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def dusk(small_frames: Frames) -> Frames:
    """[120, 1, 3, 16, 16]: a still scene that slowly brightens, by less per frame than coarse dead
    bands see."""
    gain = np.linspace(0.5, 1.0, 120, dtype=np.float32)[:, None, None, None, None]
    return np.asarray(small_frames[:1, None] * gain)


SessionOf = Callable[..., mquans.Session]


@pytest.fixture(scope="module")
def session_of(value_plan: Callable[..., mquans.Plan]) -> SessionOf:
    def make(model: Path, frames: Frames, bits: int, rule: str = "hold") -> mquans.Session:
        plan = value_plan(model, frames[:, 0], bits=bits, rule=rule)
        return mquans.Session(model, plan)

    return make


@pytest.fixture(scope="module")
def coarse(small_model: Path, dusk: Frames, session_of: SessionOf) -> mquans.Session:
    """3 bits: outputs are all but frozen."""
    return session_of(small_model, dusk, 3)


def constant(losses: list[float]) -> Iterator[float]:
    """The losses given, then 0 for ever."""
    yield from losses
    while True:
        yield 0.0


def scripted(session: mquans.Session, losses: list[float], **options: Any) -> Guard:
    """A guard that is told each check's loss."""
    script = constant(losses)
    return Guard(
        session, budget=1.0, every=1, metric=lambda outputs, dense, label: next(script), **options
    )


def losses(stream: Any, frames: Frames, session: mquans.Session) -> list[float]:
    """Loss of every frame's outputs against the whole clip's variance."""
    exact = session.stream()
    wanted = [exact.step(frame, keyframe=True)["y"] for frame in frames]
    found = [stream.step(frame)["y"] for frame in frames]
    variance = np.var(wanted, axis=(0, 3, 4))[0]
    errors = (np.array(found) - wanted) ** 2
    return [float((e.mean(axis=(2, 3))[0] / variance).mean()) for e in errors]


def test_slow_change_under_a_coarse_plan_is_caught(coarse: mquans.Session, dusk: Frames) -> None:
    """Dead bands hide it from the stream itself; the guard ends with a plan that keeps the
    budget."""
    budget = 0.01
    guard = Guard(coarse, budget=budget, every=8)
    guarded, alone = (losses(stream, dusk, coarse) for stream in (guard, coarse.stream()))
    assert min(alone[-40:]) > budget
    assert max(guarded[-40:]) < budget
    report = guard.report
    assert report.checks == 15
    assert next(check.action for check in report.log if check.action != "none") == "keyframe"
    assert report.tightenings >= 1
    assert [check.action for check in report.log][-2:] == ["none", "none"]
    assert report.out_of_reach == 0
    assert np.max(guard.session.plan.layer("first").bits) > 3


def test_fine_plan_is_left_alone(small_model: Path, dusk: Frames, session_of: SessionOf) -> None:
    """The guard must not cost a stream that is fine more than its checks."""
    session = session_of(small_model, dusk, 10)
    guard, plain = Guard(session, budget=0.01, every=10), session.stream()
    for frame in dusk:
        np.testing.assert_array_equal(guard.step(frame)["y"], plain.step(frame)["y"])
    assert (guard.report.checks, guard.report.violations) == (12, 0)
    assert guard.stats == plain.stats
    assert guard.session is session


def test_bad_outputs_are_not_handed_out(coarse: mquans.Session, dusk: Frames) -> None:
    """On a violation the outputs of a keyframe are returned, and the stream goes on from them."""
    guard, fresh = scripted(coarse, [0, 2, 0]), coarse.stream()
    guard.step(dusk[0])
    for frame in dusk[60:62]:
        np.testing.assert_array_equal(guard.step(frame)["y"], fresh.step(frame)["y"])
    assert guard.report.keyframes == 1


def test_refresh_first_then_tighten(coarse: mquans.Session, dusk: Frames) -> None:
    """One bad frame in twenty is within a budget and must not slow down the rest of the stream."""
    script = [2.0, 0.0, 2.0, *[0.0] * AGAIN, 2.0, 2.0, 2.0]
    guard = scripted(coarse, script)
    actions = []
    for frame in dusk[: len(script)]:
        guard.step(frame)
        assert guard.last_check is not None
        actions.append(guard.last_check.action)
    quiet = ["none"] * AGAIN
    assert actions == ["keyframe", "none", "tighten", *quiet, "keyframe", "tighten", "tighten"]
    assert guard.report.violations == 5
    assert guard.report.worst == 2.0


def test_tightening_goes_further_the_further_off_it_was(
    coarse: mquans.Session, dusk: Frames
) -> None:
    """A bit quarters the loss: 100 times the budget needs four, 2 times one."""
    bits = {}
    for excess in (2.0, 100.0):
        guard = scripted(coarse, [excess, excess])
        for frame in dusk[:2]:
            guard.step(frame)
        bits[excess] = np.max(guard.session.plan.layer("first").bits)
    assert bits == {2.0: 4, 100.0: 7}


def test_quiet_time_loosens_again(coarse: mquans.Session, dusk: Frames) -> None:
    """One bad hour must not slow down a stream for ever; a loosening that is taken back makes the
    next one wait longer."""
    script = [2.0, 2.0, *[0.0] * QUIET, 2.0, *[0.0] * 2 * QUIET]
    guard = scripted(coarse, script)
    actions, bits = [], []
    for index in range(len(script)):
        guard.step(dusk[index % 4])
        assert guard.last_check is not None
        actions.append(guard.last_check.action)
        bits.append(int(np.max(guard.session.plan.layer("first").bits)))
    changes = [(index, action) for index, action in enumerate(actions) if action != "none"]
    assert changes == [
        (0, "keyframe"),
        (1, "tighten"),
        (1 + QUIET, "loosen"),
        (2 + QUIET, "tighten"),
        (2 + 3 * QUIET, "loosen"),
    ]
    assert bits[1] == bits[-2] == 4
    assert bits[-1] < 4
    assert guard.report.loosenings == 2


def test_what_no_bits_can_cure_is_said(coarse: mquans.Session, dusk: Frames) -> None:
    """Tightening ends at the grid; the user is told to calibrate again."""
    guard = scripted(coarse, [1e9] * 8)
    for frame in dusk[:8]:
        guard.step(frame)
    report = guard.report
    assert {np.max(layer.bits) for layer in guard.session.plan.layers} == {12}
    assert report.tightenings < 7
    assert report.out_of_reach == report.keyframes - 1 > 0


def test_clipping_is_not_cured_by_bits(
    small_model: Path, dusk: Frames, session_of: SessionOf
) -> None:
    """A scene far brighter than calibration's leaves the grid. Only the fp32 network shows it."""
    session = session_of(small_model, dusk, 10)
    dense = open_engine("ort-fp32", read_model(small_model), NetworkOptions({"x": (1, 3, 16, 16)}))
    for reference, wrong in ((None, 0), (dense.step, 12)):
        guard = Guard(session, budget=0.01, every=10, dense=reference)
        for frame in dusk:
            guard.step(frame * np.float32(12))
        assert guard.report.violations == guard.report.out_of_reach == wrong
        assert guard.report.tightenings == 0


def test_nearest_is_checked_against_all_bits_of_the_grid(
    small_model: Path, dusk: Frames, session_of: SessionOf
) -> None:
    """A keyframe under this rule keeps its steps, so it would find nothing wrong."""
    session = session_of(small_model, dusk, 3, rule="nearest")
    guard = Guard(session, budget=0.01, every=8)
    for frame in dusk:
        guard.step(frame)
    report = guard.report
    assert report.violations >= 2
    assert report.tightenings >= 1
    assert report.log[-1].loss <= 0.01


def test_metric_of_the_users_own(coarse: mquans.Session, dusk: Frames) -> None:
    """Called with (outputs, dense outputs, None); its failures are explained."""
    seen: list[Any] = []

    def worst(outputs: Any, dense: Any, label: Any) -> float:
        seen.append(label)
        return float(np.abs(outputs["y"] - dense["y"]).max())

    guard = Guard(coarse, budget=1e9, every=10, metric=worst)
    for frame in dusk[:30]:
        guard.step(frame)
    assert seen == [None] * 3
    assert guard.report.worst > 0
    guard = Guard(coarse, budget=1, every=1, metric=lambda outputs, dense, label: -1)
    with pytest.raises(mquans.MetricError, match="loss"):
        guard.step(dusk[0])


def test_meter_without_losses_of_frames_starts_afresh_at_every_check(
    coarse: mquans.Session, dusk: Frames
) -> None:
    """Else one bad frame would be held against the stream for ever."""

    class Count:
        def __init__(self) -> None:
            self.per_frame: list[float] = []
            self.frames = 0

        def add(self, outputs: Any, dense_outputs: Any, label: Any) -> None:
            self.frames += 1

        def result(self) -> float:
            return self.frames

    guard = Guard(coarse, budget=1.5, every=1, metric=Count)
    for frame in dusk[:5]:
        guard.step(frame)
    assert [check.loss for check in guard.report.log] == [1] * 5


def test_refused_frame_counts_for_nothing(coarse: mquans.Session, dusk: Frames) -> None:
    """Checks stay every so many frames of those that were run."""
    guard = Guard(coarse, budget=0.1, every=2)
    guard.step(dusk[0])
    with pytest.raises(mquans.FrameError):
        guard.step(np.full_like(dusk[0], np.nan))
    assert (guard.frames, guard.report.checks) == (1, 0)
    guard.step(dusk[1])
    assert guard.report.checks == 1


def test_run_through_a_guard(coarse: mquans.Session, dusk: Frames) -> None:
    """`run --guard` reports each check with its frame, and all of them at the end as JSON."""
    reports: list[Any] = []
    guard = Guard(coarse, budget=0.01, every=30)
    summary = run_clip(coarse, dusk, guard=guard, on_frame=reports.append)
    assert [r.frame for r in reports if r.check is not None] == [29, 59, 89, 119]
    found = json.loads(json.dumps(summary.as_dict(), allow_nan=False))["guard"]
    assert found["checks"] == len(found["log"]) == 4
    assert found["log"][0].keys() == {"frame", "loss", "action"}
    assert summary.state_bytes == 2 * coarse.stream().state_bytes
    with pytest.raises(mquans.MquansError, match="closed"):
        guard.step(dusk[0])


def test_restored_stream_goes_on_under_a_guard(coarse: mquans.Session, dusk: Frames) -> None:
    """A box that was restarted must not begin with a dense frame."""
    stream = coarse.stream()
    stream.step(dusk[0])
    guard = Guard(coarse, budget=1e9, every=10, stream=coarse.restore(stream.save()))
    np.testing.assert_array_equal(guard.step(dusk[9])["y"], stream.step(dusk[9])["y"])
    assert guard.stats == stream.stats


def test_a_tightened_stream_goes_on_where_it_was_saved(
    coarse: mquans.Session, dusk: Frames
) -> None:
    """A camera whose guard had tightened began anew under the coarse plan at every restart."""
    guard = Guard(coarse, budget=0.05, every=10)
    for frame in dusk[:60]:
        guard.step(frame)
    assert guard.report.half_steps
    again = Guard(coarse, budget=0.05, every=10)
    again.restore(guard.stream.save())
    assert again.report.half_steps == guard.report.half_steps
    np.testing.assert_array_equal(again.step(dusk[60])["y"], guard.step(dusk[60])["y"])
    saved = guard.stream.save()
    with pytest.raises(mquans.StateError):
        again.restore(saved[:-1] + bytes([saved[-1] ^ 1]))
    np.testing.assert_array_equal(again.step(dusk[61])["y"], guard.step(dusk[61])["y"])


def test_report_of_a_stream_without_end_does_not_grow(coarse: mquans.Session, dusk: Frames) -> None:
    """Cameras run for months."""
    guard = Guard(coarse, budget=1e9, every=1)
    for _ in range(LOG + 5):
        guard.step(dusk[0])
    assert guard.report.checks == LOG + 5
    assert len(guard.report.log) == LOG


@pytest.mark.parametrize("options", [{"budget": 0}, {"budget": -1}, {"budget": 1, "every": 0}])
def test_impossible_guards_are_refused(coarse: mquans.Session, options: dict[str, Any]) -> None:
    with pytest.raises(mquans.MquansError, match="not"):
        Guard(coarse, **options)


def test_running_loss_is_that_of_calibration() -> None:
    """A budget means the same while calibrating and while running."""
    from mquans.metrics.agreement import AgreementMeter

    rng = np.random.default_rng(8)
    y = rng.normal(3, [[[1]], [[10]]], (5, 1, 2, 4, 5)).astype(np.float32)
    z = y + rng.normal(0, 0.3, y.shape).astype(np.float32)
    running, meter = RunningLoss(), AgreementMeter()
    for dense, found in zip(y, z, strict=True):
        running.learn({"y": dense})
        meter.add({"y": dense}, {"y": found})
    mean = np.mean([running.loss({"y": b}, {"y": a}) for a, b in zip(y, z, strict=True)])
    assert mean == pytest.approx(meter.result().loss_mean)


def test_outputs_of_one_number_are_watched_before_they_are_judged() -> None:
    """A steering angle has no variance within a frame."""
    running = RunningLoss()
    for index in range(LEAST_VALUES):
        assert not running.ready
        running.learn({"steer": np.array([[index % 2]])})
    assert running.ready
    loss = running.loss({"steer": np.array([[1.0]])}, {"steer": np.array([[0.5]])})
    assert loss == pytest.approx(1.0)


def test_a_quiet_start_is_no_violation(coarse: mquans.Session, dusk: Frames) -> None:
    """Checks before the outputs are known are only listed."""
    guard = Guard(coarse, budget=1e-9, every=1)
    guard._running.learn = lambda outputs: None  # type: ignore[method-assign]
    guard._running.loss = lambda outputs, dense: 1.0  # type: ignore[method-assign]
    guard.step(dusk[0])
    assert guard.report.worst == 1.0
    assert guard.report.violations == 0


def test_gates_are_tightened_until_all_changes_pass(small_model: Path, dusk: Frames) -> None:
    """Under a plan for whole sites the tolerance shrinks, and ends at nothing."""
    plan = mquans.calibrate(small_model, dusk[:, 0], bits=3)
    guard = scripted(mquans.Session(small_model, plan), [4.0, 4.0, *[1e9] * 8])
    tolerances = []
    for frame in dusk[:10]:
        guard.step(frame)
        tolerances.append(guard.session.plan.tolerance)
    assert tolerances[0] == plan.tolerance
    assert 0 < tolerances[1] < plan.tolerance
    assert tolerances[-1] == 0
