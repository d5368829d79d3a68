"""A motion gate beside a plan: frames in which nothing moves much need not be computed at all.

The gate in front of a picture decides pixel by pixel, and what it takes may be noise that later
gates keep back one by one. How much of a block it takes at once tells movements from noise.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec.structs import replace

from mquans.calibration.result import Point
from mquans.calibration.sites.trials import Trials
from mquans.calibration.validation import Choice
from mquans.plan import Plan

SHARES = (0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
"""Of a block, most first: the larger, the fewer frames are computed, and the sooner that is known.
"""


@dataclass(slots=True)
class MotionTrials:
    """Plans along the tolerance of all gates, then along the share that a motion gate asks for.

    Attributes:
        tolerances: without a motion gate.
        shares: with one, by the tolerance.
    """

    tolerances: Trials
    shares: dict[float, Trials] = field(default_factory=dict)

    def choose(self, budget: float) -> Choice:
        """The largest tolerance within a budget, and with it the largest share, if that leaves less
        to do."""
        plain = self.tolerances.choose(budget)
        if not plain.kept:
            return plain
        trials = self._along_shares(plain.plan)
        for share in SHARES:
            if trials.loss_at(share) <= budget:
                gated = trials.choice(share, budget)
                return gated if _work(gated) < _work(plain) else plain
        return plain

    @property
    def points(self) -> list[Point]:
        """(share of MACs, loss) of all tries."""
        tried = (self.tolerances, *self.shares.values())
        return [point for trials in tried for point in trials.points]

    def _along_shares(self, plan: Plan) -> Trials:
        known = self.tolerances
        if plan.tolerance not in self.shares:
            self.shares[plan.tolerance] = Trials(
                known.bench, lambda share: replace(plan, motion_gate=share), known.part, known.limit
            )
        return self.shares[plan.tolerance]


def _work(choice: Choice) -> float:
    return choice.measured.moving.macs_fraction
