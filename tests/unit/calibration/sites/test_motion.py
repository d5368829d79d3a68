"""Which level and share of a motion gate are chosen, of what plans were found to cost and lose."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from mquans.calibration.context import Part
from mquans.calibration.sites.motion import LEVELS, SHARES, MotionTrials
from mquans.calibration.sites.trials import Trials
from mquans.plan import Plan, Provenance

BUDGET = 0.1
TOLERANCE = 0.5  # the largest: without a motion gate nothing is lost

Cost = Callable[[float, float], tuple[float, float]]


def chosen(cost: Cost) -> tuple[tuple[float, float], list[tuple[float, float]]]:
    """(level, share) of the plan, and all that were tried.

    Args:
        cost: (work, loss) by level and share; without a motion gate all is done.
    """
    tried: list[tuple[float, float]] = []

    def measure(plan: Plan, segments: object) -> Any:
        setting = (plan.motion_tolerance / plan.tolerance, plan.motion_gate)
        work, loss = cost(*setting) if plan.motion_gate else (1.0, 0.0)
        if plan.motion_gate:
            tried.append(setting)
        moving = SimpleNamespace(macs_fraction=work)
        return SimpleNamespace(worst=loss, loss=loss, work=moving, moving=moving)

    def plan_of(tolerance: float) -> Plan:
        provenance = Provenance(mquans="0", sources=(), frames=0, created="")
        return Plan(
            model="m",
            model_sha256="0" * 64,
            input_shapes={},
            tolerance=tolerance,
            layers=(),
            provenance=provenance,
        )

    bench: Any = SimpleNamespace(measure=measure)
    trials = Trials(bench, plan_of, Part([], []), 2 * BUDGET)
    plan = MotionTrials(trials).choose(BUDGET).plan
    assert plan.tolerance == TOLERANCE
    return (plan.motion_tolerance / TOLERANCE, plan.motion_gate), tried


def test_the_level_that_leaves_least_to_do_is_chosen() -> None:
    """A share of every level keeps the budget; noise that is broad and weak is told from movements
    at one in the middle."""

    def cost(level: float, share: float) -> tuple[float, float]:
        off = abs(level - 4)
        return 0.1 + 0.05 * off - 0.01 * share, 0.0 if share * level <= 1.6 else 1.0

    found, tried = chosen(cost)
    assert found == (LEVELS[LEVELS.index(4.0)], 0.4)
    assert len(tried) <= len(LEVELS) + len(SHARES)


def test_what_is_too_much_at_a_level_is_not_tried_at_the_next() -> None:
    """Fewer pixels reach it, so it would leave out more frames yet."""
    _, tried = chosen(lambda level, share: (0.5, 0.0 if share <= 0.5 else 1.0))
    assert max(share for level, share in tried if level > LEVELS[0]) == 0.5


@pytest.mark.parametrize(("work", "loss"), [(0.5, 1.0), (1.0, 0.0), (0.5, 0.06)])
def test_none_is_chosen_that_loses_too_much_or_saves_nothing(work: float, loss: float) -> None:
    """The plan stays as it was. Of a budget of 0.1 a motion gate may use a half."""
    assert chosen(lambda level, share: (work, loss))[0] == (0, 0)
