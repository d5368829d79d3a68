"""The cheapest plan of a method that keeps a budget. Every candidate is measured."""

from __future__ import annotations

import numpy as np

from mquans.calibration.allocation.candidates import Candidate, Family
from mquans.calibration.allocation.separable import solve, work_factors

MOST_BITS = 12
FEWEST_BITS = 3

PRICES = (-12.0, 24.0)
"""Least and largest log2 of a price: from everything frozen to everything on the finest steps."""

TAIL = 1.6
"""Predictions are means over frames, budgets apply to the 95th percentile: where to start."""

CLOSE = 0.93
"""A loss of at least this share of the budget is close enough to it."""

MEASURED = 9
"""Most candidates of a search by price."""

TRACED = (-3.0, -3.0, -1.5, 0.0, 1.5, 3.0, 4.5)
"""Prices of a trace; the first only tells how work relates to predictions."""

LEARNED = 4
"""Candidates after which the factors between predicted and measured work stay as they are."""


def search_bits(family: Family, budget: float) -> list[Candidate]:
    """From many bits to few, until the budget breaks twice in a row: one bit less may lose less
    when a loss is noisy, two seldom do."""
    found: list[Candidate] = []
    widths = range(MOST_BITS, FEWEST_BITS - 1, -1)
    for bits in family.track(widths, "searching", len(widths)):
        found.append(family.at(bits))
        if all(candidate.loss > budget for candidate in found[-2:]) and len(found) > 1:
            break
    return found


def search_price(family: Family, budget: float) -> list[Candidate]:
    """Secant steps on log loss over log price, kept between prices known to fail and to pass.

    Each of the first candidates also tells how predicted work relates to measured work under
    plans near the budget.
    """
    low, high = PRICES
    price = _predicted_price(family, budget / TAIL)
    factors: dict[str, float] = {}
    found: list[Candidate] = []
    for count in family.track(range(MEASURED), "searching", MEASURED):
        candidate = family.at(price, factors)
        found.append(candidate)
        if count < LEARNED:
            measured = work_factors(family.problem, candidate.steps, candidate.measured.moving)
            factors = {n: float(np.sqrt(f * factors.get(n, f))) for n, f in measured.items()}
        loss = candidate.loss
        if loss <= budget:
            high = min(high, price)
            if count >= LEARNED - 1 and loss >= CLOSE * budget:
                break
        else:
            low = max(low, price)
        if high - low < 0.1 and count >= LEARNED:
            break
        price = _next_price(found[-2:], budget, low, high)
        if count < LEARNED:
            # Other factors, other plans: what failed or passed under the old ones may not now.
            low, high = min(low, price - 1.0), max(high, price + 1.0)
    return found


def _predicted_price(family: Family, loss: float) -> float:
    """Where the curves say that a loss is met."""
    low, high = PRICES
    per_tensor = family.method == "per_layer"
    for _ in range(12):
        middle = (low + high) / 2
        if solve(family.problem, 2.0**middle, per_tensor=per_tensor).loss > loss:
            low = middle
        else:
            high = middle
    return high


def _next_price(last: list[Candidate], budget: float, low: float, high: float) -> float:
    """Where the line through the last two points meets the budget; losses fall roughly with the
    square root of the price."""
    now = last[-1]
    if now.loss <= 0:
        guess = now.knob - 2.0
    else:
        slope = -0.6
        if len(last) == 2 and last[0].knob != now.knob and last[0].loss > 0:
            rise = np.log2(now.loss / last[0].loss) / (now.knob - last[0].knob)
            slope = float(np.clip(rise, -1.5, -0.3))
        # A little inside the budget: a hit just outside is of no use.
        guess = now.knob + np.log2(0.97 * budget / now.loss) / slope
        guess = float(np.clip(guess, now.knob - 4.0, now.knob + 4.0))
    if low < guess < high:
        return guess
    return float(np.clip((low + high) / 2, guess - 2.0, guess + 2.0)) if high > low else guess


def trace_bits(family: Family) -> list[Candidate]:
    """Every number of bits."""
    widths = range(FEWEST_BITS, MOST_BITS + 1)
    return [family.at(bits) for bits in family.track(widths, "comparing", len(widths))]


def trace_price(family: Family, budget: float) -> list[Candidate]:
    """Prices around where the budget is predicted to be met, octaves apart."""
    middle = _predicted_price(family, budget / TAIL)
    found: list[Candidate] = []
    for offset in family.track(TRACED, "comparing", len(TRACED)):
        factors: dict[str, float] = {}
        if found:
            last = found[-1]
            factors = work_factors(family.problem, last.steps, last.measured.moving)
        found.append(family.at(middle + offset, factors))
    return found
