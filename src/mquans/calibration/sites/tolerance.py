"""Stage 3: the largest tolerance whose measured loss keeps a budget."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

START = 0.1
"""Tolerance that is tried first, in scales of the gates."""

LEAST, MOST = 2.0**-10, 0.5
"""Beyond, nothing moves any more, and a clip in which nothing happens would not tell."""

RUNS = 10
"""At most; each runs the engine over all frames of selection."""

USED = 0.8
"""Share of the budget that ends the search, and so does a bracket as narrow as `CLOSE`."""

CLOSE = 1.1

STRIDE = 3.0
"""Factor from one try to the next while all are on one side."""

Loss = Callable[[float], float]


@dataclass(slots=True)
class Found:
    """Tries so far.

    Attributes:
        losses: by tolerance.
    """

    losses: dict[float, float] = field(default_factory=dict)

    def within(self, budget: float) -> float:
        """The largest tolerance that keeps a budget, as do all smaller ones that were tried; 0 if
        none does."""
        best = 0.0
        for tolerance in sorted(self.losses):
            if self.losses[tolerance] > budget:
                break
            best = tolerance
        return best


def search_tolerance(
    loss: Loss, budget: float, found: Found, start: float = START, *, close: float = CLOSE
) -> float:
    """The largest tolerance with `loss(tolerance) <= budget` up to a factor; 0 if there is none.

    Args:
        loss: measured; grows with the tolerance but for noise.
        found: of earlier searches of the same loss; tries are added.
        close: the factor.
    """
    if not found.losses:
        found.losses[start] = loss(start)
    for _ in range(RUNS):
        low = found.within(budget)
        if low and found.losses[low] >= USED * budget:
            break
        high = min((t for t in found.losses if t > low), default=math.inf)
        if math.isinf(high):
            tolerance = min(low * STRIDE, MOST)
        elif not low:
            tolerance = max(high / STRIDE, LEAST)
        elif high <= close * low:
            break
        else:
            tolerance = _between(low, high, found, budget)
        if tolerance in found.losses:
            break
        found.losses[tolerance] = loss(tolerance)
    return found.within(budget)


def _between(low: float, high: float, found: Found, budget: float) -> float:
    """Where a power law through both ends meets the budget, away from the ends."""
    below, above = max(found.losses[low], 1e-9 * budget), found.losses[high]
    share = math.log(budget * (1 + USED) / 2 / below) / math.log(above / below)
    share = min(max(share, 0.15), 0.85)
    return float(low * (high / low) ** share)
