"""Intervals of confidence draw blocks, and ratios are of the same draws."""

from __future__ import annotations

import numpy as np
import pytest

from mquans_studies.contest.intervals import Draws

BLOCKS = ["a"] * 50 + ["b"] * 30 + ["a"] * 20


def test_the_value_is_that_of_all_frames() -> None:
    draws = Draws.of(BLOCKS, draws=200, seed=0, level=0.95)
    values = np.arange(100.0)
    assert draws.sums(values, BLOCKS)[0] == values.sum()


def test_frames_of_a_block_are_drawn_together() -> None:
    """A hundred frames of two speakers are two pieces of evidence: their mean is that of one, of
    the other, or of both. Drawn one by one, frames would give an interval far too narrow."""
    draws = Draws.of(BLOCKS, draws=500, seed=0, level=0.95)
    ones = np.array([1.0 if block == "a" else 0.0 for block in BLOCKS])
    means = draws.sums(ones, BLOCKS) / draws.sums(np.ones(100), BLOCKS)
    assert set(means) == {0.0, 0.7, 1.0}
    assert draws.interval(means) == {"value": 0.7, "low": 0.0, "high": 1.0}


def test_an_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Of means of forty blocks whose mean is 0, near 90 of 100 intervals."""
    rng = np.random.default_rng(1)
    blocks = [str(number) for number in range(40) for _ in range(5)]
    draws = Draws.of(blocks, draws=400, seed=0, level=0.9)
    held = 0
    for _ in range(200):
        values = np.repeat(rng.normal(size=40), 5)
        found = draws.interval(draws.sums(values, blocks) / draws.sums(np.ones(200), blocks))
        assert found["low"] is not None
        assert found["high"] is not None
        held += found["low"] <= 0 <= found["high"]
    assert held / 200 == pytest.approx(0.9, abs=0.06)


def test_a_ratio_of_pairs_does_not_widen_with_what_both_share() -> None:
    """Blocks differ tenfold, one scheme is always twice the other: the ratio is certain."""
    blocks = [str(number) for number in range(10)]
    draws = Draws.of(blocks, draws=200, seed=0, level=0.95)
    spent = draws.sums(np.logspace(0, 1, 10), blocks)
    found = draws.interval(draws.sums(2 * np.logspace(0, 1, 10), blocks) / spent)
    assert found["low"] == pytest.approx(2)
    assert found["high"] == pytest.approx(2)


def test_one_block_gives_no_interval() -> None:
    draws = Draws.of(["a"] * 4, draws=200, seed=0, level=0.95)
    assert draws.interval(draws.sums(np.ones(4), ["a"] * 4)) == {
        "value": 4.0, "low": None, "high": None,
    }  # fmt: skip


def test_draws_are_those_of_the_seed() -> None:
    one, same, other = (Draws.of(BLOCKS, draws=50, seed=s, level=0.95) for s in (0, 0, 1))
    assert np.array_equal(one.times, same.times)
    assert not np.array_equal(one.times, other.times)
