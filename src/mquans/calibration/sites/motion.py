"""A motion gate beside a plan: frames in which nothing moves much need not be computed at all.

The gate in front of a picture decides pixel by pixel, and what it takes may be noise that later
gates keep back one by one. How much of a block it takes at once tells movements from noise. The
budget may be spent on either: on a large tolerance, or on frames left out under a smaller one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from msgspec.structs import replace

from mquans.calibration.result import Point
from mquans.calibration.sites.trials import Trials
from mquans.calibration.validation import Choice
from mquans.plan import Plan

SHARES = (0.95, 0.85, 0.7, 0.55, 0.4, 0.3, 0.2, 0.1)
"""Of a block, most first: the larger, the fewer frames are computed, and the sooner that is known.
"""

OCTAVES = (0, 1, 2)
"""That the tolerance is tried below the largest one."""


@dataclass(slots=True)
class MotionTrials:
    """Plans along the tolerance of all gates, then along the share that a motion gate asks for.

    Attributes:
        tolerances: without a motion gate.
        plan_of: the plan at a tolerance.
    """

    tolerances: Trials
    plan_of: Callable[[float], Plan]
    shares: dict[float, Trials] = field(default_factory=dict)

    def choose(self, budget: float) -> Choice:
        """The cheapest within a budget; without a motion gate if none makes it cheaper."""
        best = self.tolerances.choose(budget)
        if not best.kept:
            return best
        for octave in OCTAVES:
            tolerance = self.tolerances.setting / 2**octave
            found = self._most_left_out(tolerance, budget)
            if found is not None and _work(found) < _work(best):
                best = found
        return best

    @property
    def points(self) -> list[Point]:
        """(share of MACs, loss) of all tries."""
        tried = (self.tolerances, *self.shares.values())
        return [point for trials in tried for point in trials.points]

    def _most_left_out(self, tolerance: float, budget: float) -> Choice | None:
        """Under the largest share that keeps a budget."""
        if tolerance not in self.shares:
            plan, known = self.plan_of(tolerance), self.tolerances
            self.shares[tolerance] = Trials(
                known.bench, lambda share: replace(plan, motion_gate=share), known.part, known.limit
            )
        trials = self.shares[tolerance]
        for share in SHARES:
            if trials.loss_at(share) <= budget:
                return trials.choice(share, budget)
        return None


def _work(choice: Choice) -> float:
    return choice.measured.moving.macs_fraction
