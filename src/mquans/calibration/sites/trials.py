"""Plans along one setting, measured, to search for what keeps a budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from mquans.calibration.allocation.pipeline import UNIFORM_BITS
from mquans.calibration.context import Part
from mquans.calibration.measure import Bench, Measured
from mquans.calibration.result import Point
from mquans.calibration.sites.tolerance import START, Found, search_tolerance
from mquans.calibration.validation import Choice
from mquans.plan import Plan


@dataclass(slots=True)
class Trials:
    """Plans along one setting, measured on the frames of selection.

    Attributes:
        plan_of: the plan at a setting: the tolerance of all gates.
        limit: loss beyond which segments that would lose even more are left out.
        setting: of the plan that was chosen last.
    """

    bench: Bench
    plan_of: Callable[[float], Plan]
    part: Part
    limit: float
    measured: dict[float, Measured] = field(default_factory=dict)
    found: Found = field(default_factory=Found)
    setting: float = START

    def loss_at(self, setting: float) -> float:
        """What a budget is kept by; measured once."""
        if setting not in self.measured:
            self.found.losses[setting] = self._loss(setting)
        return self.found.losses[setting]

    def _loss(self, setting: float) -> float:
        plan = self.plan_of(setting)
        self.measured[setting] = self.bench.measure(plan, self.part.clips)
        loss = self.measured[setting].worst
        if loss <= self.limit and self.part.stress:
            loss = max(loss, self.bench.measure(plan, self.part.stress).loss)
        return loss

    def best(self, budget: float, start: float = START) -> float:
        """The largest tolerance within a budget; 0 if there is none."""
        tolerance = search_tolerance(self._loss, budget, self.found, start)
        self.loss_at(tolerance)
        return tolerance

    def choose(self, budget: float) -> Choice:
        """What validation is given."""
        self.setting = self.best(budget)
        return self.choice(self.setting, budget)

    def choice(self, setting: float, budget: float) -> Choice:
        """The plan at a setting that was tried."""
        loss = self.found.losses[setting]
        return Choice(self.plan_of(setting), loss, loss <= budget, self.measured[setting])

    @property
    def points(self) -> list[Point]:
        """(share of MACs, loss) of all tries."""
        losses = self.found.losses
        return [(self.measured[setting].work.macs_fraction, losses[setting]) for setting in losses]


class Widths(Trials):
    """The same along the bits of the whole network."""

    def best(self, budget: float, start: float = START) -> float:
        """The fewest bits within a budget; the most if there are none."""
        for bits in UNIFORM_BITS:
            if self.loss_at(bits) <= budget:
                return bits
        return UNIFORM_BITS[-1]
