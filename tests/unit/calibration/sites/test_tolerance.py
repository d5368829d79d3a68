"""The largest tolerance within a budget."""

from __future__ import annotations

import pytest

from mquans.calibration.sites.tolerance import LEAST, MOST, RUNS, USED, Found, search_tolerance


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1.0, 100.0])
@pytest.mark.parametrize("power", [1.0, 2.0, 4.0])
def test_budget_is_kept_and_nearly_used(scale: float, power: float) -> None:
    """Whatever unit the loss has, in few runs."""
    runs = []

    def loss(tolerance: float) -> float:
        runs.append(tolerance)
        return scale * tolerance**power

    budget = scale * 0.3**power
    found = search_tolerance(loss, budget, Found())
    assert USED * budget <= scale * found**power <= budget
    assert len(runs) <= RUNS


def test_nothing_keeps_the_budget() -> None:
    assert search_tolerance(lambda tolerance: 1.0, 0.5, Found()) == 0
    assert LEAST in _tried(lambda tolerance: 1.0, 0.5)


def test_everything_keeps_it() -> None:
    """A network whose outputs do not care ends at the largest tolerance."""
    assert search_tolerance(lambda tolerance: 0.0, 0.5, Found()) == MOST


def test_lucky_tolerance_beyond_a_bad_one_is_not_taken() -> None:
    """Metrics that count boxes jump; only what holds for all smaller tolerances counts."""
    losses = {0.05: 0.1, 0.1: 0.9, 0.2: 0.1}
    assert Found(dict(losses)).within(0.5) == 0.05


def test_second_search_uses_the_first_ones_runs() -> None:
    """A repair asks for a smaller budget."""
    runs = []

    def loss(tolerance: float) -> float:
        runs.append(tolerance)
        return tolerance

    found = Found()
    search_tolerance(loss, 0.3, found)
    before = len(runs)
    smaller = search_tolerance(loss, 0.2, found)
    assert smaller <= 0.2
    assert len(runs) == len(set(runs))
    assert len(runs) - before < before + 3


def _tried(loss: object, budget: float) -> set[float]:
    found = Found()
    search_tolerance(loss, budget, found)  # type: ignore[arg-type]
    return set(found.losses)
