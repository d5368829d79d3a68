"""The cheapest plan of a method that keeps a budget. Every candidate is measured."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from mquans.calibration.allocation.candidates import Candidate, Family
from mquans.calibration.allocation.corrections import corrected, normalized
from mquans.calibration.allocation.problem import tilted, with_curves
from mquans.calibration.allocation.separable import solve, work_factors

MOST_BITS = 12
FEWEST_BITS = 3

MULTIPLIERS = (-16.0, 28.0)
"""Least and largest log2 of a multiplier: from everything frozen to everything on the finest
steps."""

TAIL = 1.6
"""Predictions are means over frames, budgets apply to the 95th percentile: where to start."""

TILTS = (0.0, 3.0)
"""Octaves by which errors in the first layer count less than those in the last one."""

EXPLORED = 3
"""Candidates of each start; curves and factors are learned from all but the last of them."""

REFINED = 5
"""Further candidates from the best start."""

CLOSE = 0.93
"""A loss of at least this share of the budget is close enough to it."""

TRACED = (-10.0, -6.0, -3.0, -1.5, 0.0, 1.5, 3.0, 4.5)
"""Multipliers of a trace around the one that meets the budget."""


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


def search_multiplier(family: Family, budget: float) -> list[Candidate]:
    """Walks towards the budget from several starts, then on from the one that needs least work.

    Work falls in cliffs: noise is either held back at the first layer, or passes through all of
    them; a band of rows is computed change by change or dense. So one start may end far above
    another, and which is best is measured.
    """
    lines = _explored(family, budget)
    best = min(lines, key=lambda line: line.score)
    for _ in family.track(range(REFINED), "refining", REFINED):
        if best.is_close:
            break
        best.measure(learn=False)
    return [candidate for line in lines for candidate in line.found]


def trace_bits(family: Family) -> list[Candidate]:
    """Every number of bits."""
    widths = range(FEWEST_BITS, MOST_BITS + 1)
    return [family.at(bits) for bits in family.track(widths, "comparing", len(widths))]


def trace_multiplier(family: Family, budget: float) -> list[Candidate]:
    """Multipliers around the one that meets the budget, from the best start."""
    best = min(_explored(family, budget), key=lambda line: line.score)
    return [
        best.family.at(best.multiplier + offset, best.factors)
        for offset in family.track(TRACED, "comparing", len(TRACED))
    ]


def _explored(family: Family, budget: float) -> list[_Line]:
    family = normalized(family)
    multiplier = _predicted_multiplier(family, budget / TAIL)
    per_tensor = family.method == "per_layer"
    plan = solve(family.problem, 2.0**multiplier, per_tensor=per_tensor).steps
    starts = [
        tilted(known.problem, tilt) for known in (family, corrected(family, plan)) for tilt in TILTS
    ]
    lines = [_Line(replace(family, problem=problem), budget) for problem in starts]
    steps = [(line, count) for line in lines for count in range(EXPLORED)]
    for line, count in family.track(steps, "searching", len(steps)):
        line.measure(learn=count < EXPLORED - 1)
    return lines


@dataclass(slots=True)
class _Line:
    """Candidates from one start, by multiplier.

    While it learns, each candidate tells how often values change under plans near the budget and
    how predicted work relates to measured work there. Multipliers follow secant steps on log loss
    over log multiplier.
    """

    family: Family
    budget: float
    multiplier: float = 0.0
    factors: dict[str, float] = field(default_factory=dict)
    found: list[Candidate] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.multiplier = _predicted_multiplier(self.family, self.budget / TAIL)

    @property
    def score(self) -> float:
        """Log of the work that the last candidate would do if it just met the budget; around it
        work falls roughly with the square root of the loss."""
        last = self.found[-1]
        return float(np.log(max(last.work, 1e-9)) + 0.5 * np.log(self._excess(last)))

    @property
    def is_close(self) -> bool:
        """Whether some candidate leaves next to nothing of the budget."""
        return any(CLOSE * self.budget <= c.loss <= self.budget for c in self.found)

    def measure(self, *, learn: bool) -> None:
        """Measures at the multiplier, learns from it, and moves the multiplier on."""
        candidate = self.family.at(self.multiplier, self.factors)
        self.found.append(candidate)
        if learn:
            curves = self.family.observe(candidate.layers, candidate.rule)
            problem = with_curves(self.family.problem, curves)
            self.family = replace(self.family, problem=problem)
            self.factors = work_factors(problem, candidate.steps, candidate.measured.moving)
        self.multiplier = self._next_multiplier()

    def _excess(self, candidate: Candidate) -> float:
        return max(candidate.loss, 1e-3 * self.budget) / self.budget

    def _next_multiplier(self) -> float:
        now = self.found[-1]
        slope = -0.6  # losses fall roughly with the square root of the multiplier
        if len(self.found) > 1 and self.found[-2].setting != now.setting:
            before = self.found[-2]
            rise = np.log2(self._excess(now) / self._excess(before)) / (
                now.setting - before.setting
            )
            slope = float(np.clip(rise, -1.2, -0.35))
        # A little inside the budget: a hit just outside is of no use.
        move = float(np.log2(0.96 / self._excess(now)) / slope)
        return float(np.clip(now.setting + np.clip(move, -3.0, 3.0), *MULTIPLIERS))


def _predicted_multiplier(family: Family, loss: float) -> float:
    """Where the curves say that a loss is met."""
    low, high = MULTIPLIERS
    per_tensor = family.method == "per_layer"
    for _ in range(12):
        middle = (low + high) / 2
        if solve(family.problem, 2.0**middle, per_tensor=per_tensor).loss > loss:
            low = middle
        else:
            high = middle
    return high
