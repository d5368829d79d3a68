"""One rule chooses for all schemes."""

from __future__ import annotations

import numpy as np

from mquans_studies.contest.choosing import chosen, picked


def _each(*values: float) -> list[np.ndarray]:
    return [np.array([value]) for value in values]


def test_the_cheapest_that_loses_nothing() -> None:
    errors, energies = _each(0.3, 0.1, 0.1), _each(1.0, 3.0, 2.0)
    assert chosen(errors, energies, np.array([0.2])).tolist() == [2]


def test_where_all_lose_the_one_that_loses_least() -> None:
    errors, energies = _each(0.5, 0.3, 0.4), _each(1.0, 3.0, 2.0)
    assert chosen(errors, energies, np.array([0.2])).tolist() == [1]


def test_every_draw_chooses_anew() -> None:
    """Else an interval would leave out that the choice itself hangs on the sample."""
    errors = [np.array([0.1, 0.3]), np.array([0.1, 0.1])]
    energies = [np.array([1.0, 1.0]), np.array([2.0, 2.0])]
    places = chosen(errors, energies, np.array([0.2, 0.2]))
    assert places.tolist() == [0, 1]
    assert picked(energies, places).tolist() == [1.0, 2.0]
