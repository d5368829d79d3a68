"""The loop of ApproxANN (Zhang et al., DATE 2015, algorithm 1), with steps as its setting.

    demote a batch of the least critical neurons by one bit, measure; if the budget breaks, roll
    back and halve the batch; the batch shrinks with what is left of the budget

Least critical is here: least predicted growth of the loss per MAC that the demotion saves.
"""

from __future__ import annotations

import numpy as np

from mquans.calibration.allocation.candidates import Candidate, Family
from mquans.calibration.allocation.quantizers import quantized
from mquans.calibration.allocation.search import MOST_BITS
from mquans.calibration.curves import Sums

BATCH = 0.6
"""Share of all neurons in the first batch, while none of the budget is spent."""
LEAST_BATCH = 0.01
MEASURED = 24


def search_demotions(family: Family, budget: float) -> list[Candidate]:
    """Demotes from `MOST_BITS` for every neuron until nothing more fits the budget."""
    best = family.with_steps(quantized(family.problem, "uniform", MOST_BITS), 0)
    found = [best]
    if best.loss > budget:
        return found
    batch = BATCH
    for count in family.track(range(1, MEASURED), "searching", MEASURED - 1):
        left = 1 - best.loss / budget
        share = min(batch, max(BATCH * left, LEAST_BATCH))
        demoted = _demote(family, dict(best.steps), share)
        candidate = family.with_steps(demoted, count)
        found.append(candidate)
        if candidate.loss > budget:
            batch = share / 2
        else:
            best, batch = candidate, share
        if batch < LEAST_BATCH:
            break
    return found


def _demote(family: Family, steps: dict[str, Sums], share: float) -> dict[str, Sums]:
    """Doubles the steps of the given share of neurons, least critical per MAC saved first."""
    ratios = []
    for tensor in family.problem.tensors:
        change, error = tensor.at(steps[tensor.name])
        less_change, more_error = tensor.at(2 * steps[tensor.name])
        saved = tensor.cost * (change - less_change)
        lost = tensor.criticality * (more_error - error)
        # One that saves nothing any more is not worth a demotion.
        ratios.append(np.where(saved > 0, lost / np.where(saved > 0, saved, 1.0), np.inf))
    every = np.concatenate(ratios)
    worth = np.isfinite(every)
    if not worth.any():
        return steps
    count = max(1, round(share * len(every)))
    limit = np.sort(every[worth])[min(count, int(worth.sum())) - 1]
    return {
        tensor.name: np.where(ratio <= limit, 2.0, 1.0) * steps[tensor.name]
        for tensor, ratio in zip(family.problem.tensors, ratios, strict=True)
    }
