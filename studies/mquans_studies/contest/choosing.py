"""Which candidate of a scheme counts: one rule for all schemes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mquans_studies.contest.intervals import Sums

Places = npt.NDArray[np.int64]
"""[1 + draws], of candidates."""


def chosen(errors: Sequence[Sums], energies: Sequence[Sums], allowed: Sums) -> Places:
    """Places of the candidates with the least energy of those whose error is allowed;
    where none is, of the one with the least error. The choice is made anew in every draw.

    Args:
        errors, energies: [candidates], each [1 + draws].
        allowed: [1 + draws].
    """
    table, spent = np.array(errors), np.array(energies)
    within = table <= allowed
    cheapest = np.where(within, spent, np.inf).argmin(axis=0)
    return np.asarray(np.where(within.any(axis=0), cheapest, table.argmin(axis=0)))


def picked(quantities: Sequence[Sums], places: Places) -> Sums:
    """[1 + draws]: of each draw the quantity of the candidate chosen in it."""
    return np.asarray(np.array(quantities)[places, np.arange(len(places))], np.float64)
