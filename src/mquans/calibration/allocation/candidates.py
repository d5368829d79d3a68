"""Plans of a method along its one setting, and how they are measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mquans.calibration.allocation.grids import WeightBits, layer_plans
from mquans.calibration.allocation.problem import CHANGED, Problem, Steps
from mquans.calibration.allocation.quantizers import QUANTIZERS, quantized
from mquans.calibration.allocation.separable import solve
from mquans.calibration.curves import Curves
from mquans.calibration.measure import Measured
from mquans.calibration.objectives import LayerEnergy
from mquans.evaluate import Track, silent
from mquans.plan import LayerPlan, Rule

METHODS = ("criticality", "approxann", "per_layer", "uniform", "linear", "dorefa")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A plan of some method, measured.

    Attributes:
        setting: bits of the whole network, log2 of the multiplier of the loss, or the number of
            demotions.
        steps: in which the plan's neurons move.
    """

    method: str
    setting: float
    rule: Rule
    steps: Steps
    layers: tuple[LayerPlan, ...]
    measured: Measured
    stress: Measured | None = None
    objective: str = "macs"
    energies: Mapping[str, LayerEnergy] = field(default_factory=dict)

    @property
    def loss(self) -> float:
        """What a budget is kept by: the worst of the clips, their parts, and stress segments."""
        return max(self.measured.worst, 0.0 if self.stress is None else self.stress.loss)

    @property
    def work(self) -> float:
        """MACs done / dense MACs, first frames left out: they are the same for every plan. Under
        the objective `time` with what listing changes takes, in MACs; under `energy` that of
        comparing and of changes, or of the dense layer where that is less / that of the dense
        network."""
        moving = self.measured.moving
        if self.objective == "energy":
            layers = [
                (layer, self.energies[name.removesuffix("/reset")])
                for name, layer in moving.layers.items()
            ]
            dense = sum(layer.inputs * energy.dense for layer, energy in layers)
            spent = sum(energy.spent(layer.changed, layer.inputs) for layer, energy in layers)
            return spent / dense if dense else 0.0
        if self.objective == "macs":
            return moving.macs_fraction
        changed = sum(layer.changed for layer in moving.layers.values())
        return (moving.macs_done + CHANGED * changed) / max(moving.macs_total, 1)


Observe = Callable[[tuple[LayerPlan, ...], Rule], Mapping[str, Curves]]
"""Curves of every tensor under layers and a rule."""

Probe = Callable[[tuple[LayerPlan, ...], Rule], float]
"""Mean loss (`metrics.agreement`) of layers under a rule, on few frames."""

Measure = Callable[[tuple[LayerPlan, ...], Rule], tuple[Measured, Measured | None]]
"""Layers under a rule, measured on clips and, unless those were left out, on stress segments."""


@dataclass(frozen=True, slots=True)
class Family:
    """All plans of a method for one network.

    Attributes:
        measure: runs layers under a rule.
        observe: looks at what they see.
        probe: a quick look at what they lose.
        weight_bits: by layer, 16 where absent.
    """

    method: str
    problem: Problem
    measure: Measure
    observe: Observe
    probe: Probe
    weight_bits: Mapping[str, WeightBits]
    track: Track = silent

    @property
    def rule(self) -> Rule:
        """The published quantizers come with `nearest`; all others take the user's rule."""
        return "nearest" if self.method in ("linear", "dorefa") else self.problem.rule

    def at(self, setting: float, factors: Mapping[str, float] | None = None) -> Candidate:
        """Measures the plan at a setting: bits, or log2 of the multiplier of the loss."""
        if self.method in QUANTIZERS:
            steps: Steps = quantized(self.problem, self.method, round(setting))
        else:
            per_tensor = self.method == "per_layer"
            steps = solve(self.problem, 2.0**setting, factors=factors, per_tensor=per_tensor).steps
        return self.with_steps(steps, setting)

    def with_steps(self, steps: Steps, setting: float) -> Candidate:
        """Measures the plan with these steps."""
        layers = layer_plans(self.problem, steps, weight_bits=self.weight_bits)
        measured, stress = self.measure(layers, self.rule)
        return Candidate(
            self.method, setting, self.rule, steps, layers, measured, stress,
            self.problem.objective, self.problem.energies,
        )  # fmt: skip
