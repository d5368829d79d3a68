"""What calibration hands back besides the plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mquans.calibration.measure import Measured
from mquans.calibration.observe import Observation
from mquans.errors import MquansError
from mquans.plan import Plan

Point = tuple[float, float]
"""(share of MACs done, loss)."""


def pareto_front(points: list[Point]) -> list[Point]:
    """Points that none beats in both, least work first."""
    front: list[Point] = []
    for work, loss in sorted(points):
        if not front or loss < front[-1][1]:
            front.append((work, loss))
    return front


@dataclass(frozen=True, slots=True)
class Sweep:
    """Several uniform bit widths measured on the same held-out frames."""

    plans: dict[int, Plan]
    measured: dict[int, Measured]
    frozen_loss: float
    held_out_frames: int

    @property
    def pareto(self) -> list[Point]:
        """(share of MACs done, loss) of candidates that none beats in both, least work first."""
        return pareto_front([(m.work.macs_fraction, m.loss) for m in self.measured.values()])


@dataclass(frozen=True, slots=True)
class Stages:
    """What the stages before the plan found; empty for a plan of given bits.

    Attributes:
        criticality: [neurons] by layer.
        tried: (share of MACs done, loss) of all candidates, by method, on the frames that the
            plan was chosen on.
        compared: the same of methods that were only compared, on the frames of the verdict.
        seconds: by stage.
        widths: by layer over sites, [channels of its input]: the width of codes at which a change
            of each channel alone would open the gate in front of it.
    """

    observation: Observation | None = None
    criticality: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    tried: Mapping[str, list[Point]] = field(default_factory=dict)
    compared: Mapping[str, list[Point]] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    widths: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CalibrationResult:
    """The plan and how it was found.

    Attributes:
        method: that decided the steps.
        bits: of the whole network, where the method has that setting; else None.
        budget: the largest loss the user accepts, or None when bits were given.
        reached: False when the plan breaks the budget; it is then the best that was found.
        measured: on frames that had no part in choosing the plan.
        held_out_frames: how many.
        frozen_loss: what outputs held at each clip's first frame would lose on them.
        tuned: on the frames that the plan was chosen on; None for given bits.
        stress: on segments made from the clips in which more happens; None if they were left out.
        repairs: how often the plan was made more careful since it broke the budget on frames that
            had not chosen it.
        uniform: uniform bit widths that were measured, on the frames of `measured`.
    """

    plan: Plan
    method: str
    bits: int | None
    budget: float | None
    reached: bool
    measured: Measured
    held_out_frames: int
    frozen_loss: float
    tuned: Measured | None = None
    stress: Measured | None = None
    repairs: int = 0
    uniform: Mapping[int, Measured] = field(default_factory=dict)
    stages: Stages = field(default_factory=Stages)

    @property
    def tells_frozen(self) -> bool:
        """False when outputs frozen at the first frame would have been accepted on these clips."""
        limit = self.measured.loss if self.budget is None else self.budget
        return self.frozen_loss > limit

    @property
    def pareto(self) -> list[Point]:
        """(share of MACs done, loss) of measured candidates that none beats in both, least work
        first: of the plan's method, on the frames that the plan was chosen on; of uniform bits on
        held-out frames when bits were given."""
        points = self.stages.tried.get(self.method)
        if points is None:
            points = [(m.work.macs_fraction, m.loss) for m in self.uniform.values()]
        return pareto_front(list(points))

    def bits_of(self, layer: str) -> list[float]:
        """Widths of a layer's neurons; one for all of them where they share it, none where the
        layer reads no tensor with a gate of its own."""
        for plan in self.plan.layers:
            if plan.name == layer:
                return list(plan.bits) if isinstance(plan.bits, tuple) else [plan.bits]
        widths = self.stages.widths.get(layer)
        if widths is not None:
            return [float(width) for width in widths]
        return [] if self.bits is None else [float(self.bits)]

    @property
    def verdict(self) -> str:
        """What was reached, in one or two sentences."""
        done, loss = 100 * self.measured.work.macs_fraction, self.measured.loss
        found = f"{done:.1f} % of the MACs at a loss of {loss:.3g}"
        if self.budget is None:
            return f"{found} on {self.held_out_frames} frames that ranges were not taken from."
        if not self.reached:
            worst = max([loss, *([self.stress.loss] if self.stress else [])])
            return (
                f"The budget of {self.budget:g} is out of reach: the best loss is {worst:.3g}, "
                f"with {done:.1f} % of the MACs."
            )
        repairs = "1 repair" if self.repairs == 1 else f"{self.repairs} repairs"
        repaired = f" after {repairs}" if self.repairs else ""
        return (
            f"{found}, within the budget of {self.budget:g}{repaired}, on {self.held_out_frames} "
            "frames that chose nothing."
        )

    def as_dict(self) -> dict[str, Any]:
        """The stable keys of `calibrate --json`."""
        return {
            "budget": self.budget,
            "reached": self.reached,
            "verdict": self.verdict,
            "method": self.method,
            "loss": self.measured.loss,
            "macs_done_fraction": self.measured.work.macs_fraction,
            "pareto": [list(point) for point in self.pareto],
            "methods": {
                name: [list(point) for point in pareto_front(list(points))]
                for name, points in self.stages.compared.items()
            },
            "uniform": {
                str(bits): {"macs_fraction": m.work.macs_fraction, "loss": m.loss}
                for bits, m in self.uniform.items()
            },
            "bits": self.bits,
            "motion_gate": self.plan.motion_gate,
            "motion_tolerance": self.plan.motion_tolerance,
            "agreement": self.measured.agreement.as_dict(),
            "frozen_loss": self.frozen_loss,
            "tells_frozen": self.tells_frozen,
            "held_out_frames": self.held_out_frames,
            "tuned_loss": None if self.tuned is None else self.tuned.loss,
            "stress_loss": None if self.stress is None else self.stress.loss,
            "repairs": self.repairs,
            "seconds": dict(self.stages.seconds),
            "inner_values": list(self.measured.inner_values),
        }


class BudgetError(MquansError):
    """No candidate fits the budget.

    Attributes:
        result: with the best plan that was found.
    """

    def __init__(self, result: CalibrationResult) -> None:
        self.result = result
        worst = max([result.measured.loss, *([result.stress.loss] if result.stress else [])])
        super().__init__(
            f"the budget of {result.budget:g} cannot be reached: the best loss is {worst:.3g}, "
            f"with {100 * result.measured.work.macs_fraction:.1f} % of the MACs.",
            hint="Accept a larger loss with --max-loss, or take the best plan with --best.",
        )
