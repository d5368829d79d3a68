"""A plan is accepted, or a more careful one is asked for, on frames that have chosen nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from mquans.calibration import Allocation
from mquans.calibration.allocation import pipeline
from mquans.calibration.validation import (
    MARGIN,
    REPAIRS,
    Choice,
    Validated,
    first_budget,
    validate,
)


def context(losses: Sequence[float]) -> Any:
    """Whose frames of validation lose so much, one plan after the other."""
    found = iter(losses)
    bench = SimpleNamespace(
        frozen_loss=lambda _: 100.0, measure=lambda *_: SimpleNamespace(loss=next(found))
    )
    part = SimpleNamespace(clips=[], stress=[])
    return SimpleNamespace(bench=bench, selection=part, validation=part)


def validated(losses: Sequence[float], choose: Callable[[float], Choice]) -> Validated:
    """For a largest loss of 1."""
    clips = context(losses)
    return validate(clips, 1.0, first_budget(clips, 1.0), choose)


def choice(budget: float, *, kept: bool = True) -> Choice:
    return Choice("a plan", budget, kept, "measured")  # type: ignore[arg-type]


def test_repairs_end() -> None:
    """A clip whose end is unlike all before it would keep calibration busy for ever."""
    budgets: list[float] = []

    def choose(budget: float) -> Choice:
        budgets.append(budget)
        return choice(budget)

    found = validated([2.0] * (REPAIRS + 1), choose)
    assert not found.reached
    assert found.repairs == REPAIRS
    assert budgets == pytest.approx([MARGIN * (MARGIN / 2) ** n for n in range(REPAIRS + 1)])


def test_nothing_is_repaired_that_selection_could_not_keep() -> None:
    found = validated([2.0], lambda budget: choice(budget, kept=False))
    assert (found.reached, found.repairs) == (False, 0)


def test_a_repair_that_holds_is_accepted() -> None:
    found = validated([1.2, 0.9], choice)
    assert (found.reached, found.repairs) == (True, 1)


@pytest.mark.parametrize(("loss", "searches"), [(0.59, 2), (0.61, 1)])
def test_a_candidate_far_inside_the_budget_is_no_answer(
    loss: float, searches: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would leave more to do than the budget asks for; one near it saves a whole search."""
    candidates = [
        SimpleNamespace(loss=each, work=1 / each, layers=(), rule="hold", measured=None)
        for each in (2.0, loss)
    ]
    asked: list[float] = []

    def allocate(_: Any, budget: float) -> Any:
        asked.append(budget)
        return Allocation(candidates[0], True, list(candidates))  # type: ignore[arg-type]

    monkeypatch.setattr(pipeline, "allocate", allocate)
    plans: Any = SimpleNamespace(plan=lambda *_: "a plan")
    search = pipeline._Search(plans, None)  # type: ignore[arg-type]
    search.choose(3.0)
    search.choose(1.0)
    assert len(asked) == searches
