"""A motion gate beside a plan: frames in which nothing moves much need not be computed at all.

The gate in front of a picture decides pixel by pixel, and what it takes may be noise that later
gates keep back one by one. How much of a block changes at once, and how much, tells movements from
noise.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec.structs import replace

from mquans.calibration.result import Point
from mquans.calibration.sites.trials import Trials
from mquans.calibration.validation import Choice
from mquans.plan import Plan

LEVELS = tuple(2.0 ** (step / 2) for step in range(-1, 9))
"""Of the tolerance of all gates, least first: what a pixel has to change by."""

PART = 0.5
"""Of the budget, that a plan with a motion gate may use: what is left out is late in the outputs,
of which a few frames tell less than of what gates of sites keep back."""

SHARES = (0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
"""Of a block, most first: the larger, the fewer frames are computed, and the sooner that is known.
"""


@dataclass(slots=True)
class MotionTrials:
    """Plans along the tolerance of all gates, then along the share that a motion gate asks for.

    Attributes:
        tolerances: without a motion gate.
        shares: with one, by the tolerance and the level.
    """

    tolerances: Trials
    shares: dict[tuple[float, float], Trials] = field(default_factory=dict)

    def choose(self, budget: float) -> Choice:
        """The largest tolerance within a budget, and with it the level and the share that leave
        least to do within a part of it, if that is less."""
        best = plain = self.tolerances.choose(budget)
        if not plain.kept or plain.plan.tolerance == 0:
            return plain
        shares = list(SHARES)
        for level in LEVELS:
            trials = self._along_shares(plain.plan, level)
            # What is too much at a level is so at the next, at which fewer pixels move.
            while shares and trials.loss_at(shares[0]) > PART * budget:
                del shares[0]
            if not shares:
                break
            gated = trials.choice(shares[0], budget)
            best = min(best, gated, key=_work)
        return best

    @property
    def points(self) -> list[Point]:
        """(share of MACs, loss) of all tries."""
        tried = (self.tolerances, *self.shares.values())
        return [point for trials in tried for point in trials.points]

    def _along_shares(self, plan: Plan, level: float) -> Trials:
        known = self.tolerances
        plan = replace(plan, motion_tolerance=level * plan.tolerance)
        return self.shares.setdefault(
            (plan.tolerance, level),
            Trials(
                known.bench, lambda share: replace(plan, motion_gate=share), known.part, known.limit
            ),
        )


def _work(choice: Choice) -> float:
    return choice.measured.moving.macs_fraction
