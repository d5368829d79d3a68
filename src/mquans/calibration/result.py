"""What calibration hands back besides the plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mquans.calibration.measure import Measured
from mquans.errors import MquansError
from mquans.plan import Plan


@dataclass(frozen=True, slots=True)
class Sweep:
    """Several uniform bit widths measured on the same held-out frames."""

    plans: dict[int, Plan]
    measured: dict[int, Measured]
    frozen_loss: float
    held_out_frames: int

    @property
    def pareto(self) -> list[tuple[float, float]]:
        """(share of MACs done, loss) of candidates that none beats in both, least work first."""
        points = sorted((m.work.macs_fraction, m.loss) for m in self.measured.values())
        front: list[tuple[float, float]] = []
        for work, loss in points:
            if not front or loss < front[-1][1]:
                front.append((work, loss))
        return front


@dataclass(frozen=True, slots=True)
class CalibrationResult:
    """The plan and how it was found.

    Attributes:
        bits: the uniform bits of the plan.
        budget: the largest loss the user accepts, or None when bits were given.
        reached: False when no candidate fits the budget; `plan` is then the best one.
    """

    plan: Plan
    bits: int
    budget: float | None
    reached: bool
    sweep: Sweep

    @property
    def measured(self) -> Measured:
        """Of the plan, on held-out frames."""
        return self.sweep.measured[self.bits]

    @property
    def tells_frozen(self) -> bool:
        """False when outputs frozen at the first frame would have been accepted on these clips."""
        limit = self.measured.loss if self.budget is None else self.budget
        return self.sweep.frozen_loss > limit

    def as_dict(self) -> dict[str, Any]:
        """The stable keys of `calibrate --json`."""
        return {
            "budget": self.budget,
            "reached": self.reached,
            "loss": self.measured.loss,
            "macs_done_fraction": self.measured.work.macs_fraction,
            "pareto": [list(point) for point in self.sweep.pareto],
            "uniform": {
                str(bits): {"macs_fraction": m.work.macs_fraction, "loss": m.loss}
                for bits, m in self.sweep.measured.items()
            },
            "bits": self.bits,
            "agreement": self.measured.agreement.as_dict(),
            "frozen_loss": self.sweep.frozen_loss,
            "held_out_frames": self.sweep.held_out_frames,
        }


class BudgetError(MquansError):
    """No candidate fits the budget.

    Attributes:
        result: with the best plan that was found.
    """

    def __init__(self, result: CalibrationResult) -> None:
        self.result = result
        super().__init__(
            f"the budget of {result.budget:g} cannot be reached: the best loss is "
            f"{result.measured.loss:.3g}, with {result.bits} bits.",
            hint="Accept a larger loss with --max-loss, or take the best plan with --best.",
        )
