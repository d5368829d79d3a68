"""From frames to a plan for the integer engine that keeps its budget."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import mquans
from mquans.calibration import Bench, Measured, Segment, calibrate_fully
from mquans.calibration.sites import pipeline
from mquans.calibration.sites.ranges import RangeMeter
from mquans.calibration.sites.sensitivity import GateBench
from mquans.errors import MquansError
from mquans.plan import Plan

Frames = npt.NDArray[np.float32]


def numbered(frames: Frames, count: int = 60) -> Frames:
    """More frames, each with its number in a corner."""
    found = np.concatenate([frames] * (count // len(frames)))
    found[:, 0, 0, 0] = np.arange(count)
    return found


def numbers(frames: Iterable[Any]) -> set[int]:
    return {int(frame["x"][0, 0, 0, 0]) for frame in frames}


def test_frames_of_the_stages_are_disjoint(
    small_model: Path, small_frames: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What judges has chosen nothing, and ranges come from neither."""
    used: dict[str, list[set[int]]] = {"ranges": [], "gates": [], "plans": []}
    add, measure, init = RangeMeter.add, Bench.measure, GateBench.__init__

    def adding(self: RangeMeter, clip: Iterable[Any], run: Any) -> None:
        frames = list(clip)
        used["ranges"].append(numbers(frames))
        add(self, frames, run)

    def measuring(self: Bench, plan: Plan, segments: Sequence[Segment], **options: Any) -> Measured:
        used["plans"] += [numbers(segment.frames) for segment in segments]
        return measure(self, plan, segments, **options)

    def probing(self: GateBench, session: Any, gates: Any, tolerance: float,
                segments: Sequence[Segment], *rest: Any) -> None:  # fmt: skip
        used["gates"] += [numbers(segment.frames) for segment in segments]
        init(self, session, gates, tolerance, segments, *rest)

    monkeypatch.setattr(RangeMeter, "add", adding)
    monkeypatch.setattr(Bench, "measure", measuring)
    monkeypatch.setattr(GateBench, "__init__", probing)
    result = calibrate_fully(small_model, numbered(small_frames), max_loss=0.1, stress=False)
    (ranges,) = used["ranges"]
    assert used["gates"]
    selection, judged = used["plans"][0], used["plans"][-1]
    assert set.union(*used["plans"]) == selection | judged
    assert set.union(*used["gates"]) <= selection
    assert len(ranges) + len(selection) + len(judged) == 60
    assert ranges | selection | judged == set(range(60))
    assert result.held_out_frames == len(judged)


def test_plan_is_cheaper_than_one_width_that_loses_as_much(
    small_model: Path, small_frames: Frames
) -> None:
    """A moving square, seen as sites: most of the picture has nothing to do."""
    result = calibrate_fully(small_model, small_frames, max_loss=0.05)
    assert result.reached
    assert max(result.measured.loss, result.stress.loss if result.stress else 0) <= 0.05
    fitting = [m.work.macs_fraction for m in result.uniform.values() if m.loss <= 0.05]
    assert result.measured.work.macs_fraction <= 1.05 * min(fitting)


def test_uniform_bits_within_a_budget(small_model: Path, small_frames: Frames) -> None:
    """The fewest that keep it."""
    result = calibrate_fully(small_model, small_frames, max_loss=0.05, method="uniform")
    assert result.reached
    assert result.bits is not None
    assert result.plan.tolerance == 1
    assert len(result.stages.tried["uniform"]) >= 1


def test_more_bits_lose_less_and_leave_more_to_do(small_model: Path, small_frames: Frames) -> None:
    """Uniform widths mean what they did."""
    found = {bits: calibrate_fully(small_model, small_frames, bits=bits) for bits in (3, 6, 10)}
    losses = [result.measured.loss for result in found.values()]
    work = [result.measured.work.macs_fraction for result in found.values()]
    assert losses == sorted(losses, reverse=True)
    assert work == sorted(work)
    assert losses[-1] < 1e-3


def test_stress_segments_have_their_say(
    small_model: Path, small_frames: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In choosing already, not only in the verdict; under a budget that the widest gates break."""
    measure = Bench.measure

    def harsher(self: Bench, plan: Plan, segments: Sequence[Segment], **options: Any) -> Measured:
        found = measure(self, plan, segments, **options)
        cut = len(segments[0].frames) != 15
        return with_loss(found, 3 * found.agreement.loss_p95) if cut else found

    plain = calibrate_fully(small_model, numbered(small_frames), max_loss=0.02)
    monkeypatch.setattr(Bench, "measure", harsher)
    result = calibrate_fully(small_model, numbered(small_frames), max_loss=0.02)
    assert result.plan.tolerance < plain.plan.tolerance
    assert result.repairs == 0


@pytest.mark.parametrize("criticality", ["fisher", "closed_form"])
def test_channels_may_be_weighed_by_criticality(
    small_model: Path, small_frames: Frames, criticality: str
) -> None:
    result = calibrate_fully(small_model, small_frames, max_loss=0.05, criticality=criticality)
    assert result.reached
    assert set(result.stages.criticality) == {"first", "second", "third"}
    plain = calibrate_fully(small_model, small_frames, max_loss=0.05)
    assert result.plan.tensors[1].gate != plain.plan.tensors[1].gate


def test_budget_that_fails_on_other_frames_is_repaired_or_refused(
    small_model: Path, small_frames: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here everything loses ten times as much where it is judged."""
    measure = Bench.measure
    judged: list[int] = []

    def harsher(self: Bench, plan: Plan, segments: Sequence[Segment], **options: Any) -> Measured:
        found = measure(self, plan, segments, **options)
        if numbers(segments[0].frames) & set(range(45, 60)):
            judged.append(1)
            found = with_loss(found, 10 * found.agreement.loss_p95)
        return found

    monkeypatch.setattr(Bench, "measure", harsher)
    result = calibrate_fully(small_model, numbered(small_frames), max_loss=0.1, stress=False)
    assert result.repairs > 0
    assert result.reached == (result.measured.loss <= 0.1)


def test_each_repair_judges_another_plan(
    small_model: Path, small_frames: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where the plan that failed had used only a part of the budget."""
    measure = Bench.measure
    judged: list[float] = []

    def harsher(self: Bench, plan: Plan, segments: Sequence[Segment], **options: Any) -> Measured:
        found = measure(self, plan, segments, **options)
        if numbers(segments[0].frames) & set(range(45, 60)) and plan.tolerance < 1:
            judged.append(plan.tolerance)
            return with_loss(found, 0.101 if len(judged) < 4 else 0.01)
        return found

    monkeypatch.setattr(Bench, "measure", harsher)
    result = calibrate_fully(small_model, numbered(small_frames), max_loss=0.1, stress=False)
    assert result.reached
    assert result.repairs == 3
    assert judged == sorted(set(judged), reverse=True)


def with_loss(found: Measured, loss: float) -> Measured:
    """The same with another loss."""
    return replace(found, task=loss)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"method": "linear"}, "method linear decides on single values"),
        ({"objective": "energy"}, "objective energy counts changes of single values"),
        ({"objective": "time"}, "objective time counts changes of single values"),
        ({"rule": "either"}, "rule is of single values"),
    ],
)
def test_what_is_for_single_values_is_refused(
    small_model: Path, small_frames: Frames, options: dict[str, str], said: str
) -> None:
    with pytest.raises(MquansError, match=said):
        calibrate_fully(small_model, small_frames, max_loss=0.1, **options)  # type: ignore[arg-type]


def test_dense_layers_behind_follow_the_tolerance() -> None:
    """PilotNet: convolutions by sites, its dense layers value by value under the same number."""
    from tests.laws.networks import mobile

    rng = np.random.default_rng(0)
    scene = rng.normal(size=(2, 5, 11, 13))
    frames = [(scene + 0.3 * rng.normal(size=(2, 5, 1, 1))).astype(np.float32) for _ in range(40)]
    result = calibrate_fully(mobile(), [{"x": frame} for frame in frames], max_loss=0.05)
    assert result.plan.tensors
    assert len(result.plan.layers) == 2
    assert result.reached
    session = mquans.Session(mobile(), result.plan)
    with session.stream() as stream:
        for frame in frames[:3]:
            stream.step({"x": frame})
        assert stream.check() is None
    assert pipeline.over_sites(session.graph)
