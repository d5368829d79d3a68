"""Which step every neuron moves in: methods behind one function.

| method | decides | rule |
|---|---|---|
| `criticality` | a step per neuron: least work for a loss, by curves and criticality | any |
| `approxann` | bits per neuron: batches of the least critical are demoted and measured | any |
| `per_layer` | one step per layer, as `criticality` | any |
| `uniform` | bits of the whole network: steps of each layer's range / 2**bits | any |
| `linear` | the same with the quantizer of Riera et al. 2018 | nearest |
| `dorefa` | the same with the quantizer of DoReFa-Net | nearest |
"""

from __future__ import annotations

from dataclasses import dataclass

from mquans.calibration.allocation.approxann import search_demotions
from mquans.calibration.allocation.candidates import (
    METHODS,
    Candidate,
    Family,
    Measure,
)
from mquans.calibration.allocation.grids import (
    GRID_BITS,
    WeightBits,
    layer_plans,
    stepped_layer,
    stored_bits,
    uniform_layers,
)
from mquans.calibration.allocation.problem import Problem, Tensor, problem_of
from mquans.calibration.allocation.quantizers import QUANTIZERS
from mquans.calibration.allocation.search import (
    search_bits,
    search_multiplier,
    trace_bits,
    trace_multiplier,
)
from mquans.calibration.allocation.separable import solve, work_factors
from mquans.calibration.allocation.widths import affordable_widths

__all__ = [
    "GRID_BITS",
    "METHODS",
    "QUANTIZERS",
    "Allocation",
    "Candidate",
    "Family",
    "Measure",
    "Problem",
    "Tensor",
    "WeightBits",
    "affordable_widths",
    "allocate",
    "cheapest",
    "layer_plans",
    "problem_of",
    "solve",
    "stepped_layer",
    "stored_bits",
    "trace",
    "uniform_layers",
    "work_factors",
]


@dataclass(frozen=True, slots=True)
class Allocation:
    """The outcome of a search.

    Attributes:
        best: the cheapest candidate within the budget; the one that loses least if none is.
        reached: whether it is within the budget.
        tried: all candidates, in the order in which they were measured.
    """

    best: Candidate
    reached: bool
    tried: list[Candidate]


def allocate(family: Family, budget: float) -> Allocation:
    """The cheapest plan of a method whose measured loss keeps a budget."""
    if family.method == "approxann":
        tried = search_demotions(family, budget)
    elif family.method in QUANTIZERS:
        tried = search_bits(family, budget)
    else:
        tried = search_multiplier(family, budget)
    return cheapest(tried, budget)


def cheapest(tried: list[Candidate], budget: float) -> Allocation:
    """The outcome of a search that measured these candidates."""
    fitting = [candidate for candidate in tried if candidate.loss <= budget]
    if fitting:
        return Allocation(min(fitting, key=lambda candidate: candidate.work), True, tried)
    return Allocation(min(tried, key=lambda candidate: candidate.loss), False, tried)


def trace(family: Family, budget: float) -> list[Candidate]:
    """Measured candidates of a method on both sides of a budget, to compare methods by."""
    if family.method == "approxann":
        return search_demotions(family, budget)
    if family.method in QUANTIZERS:
        return trace_bits(family)
    return trace_multiplier(family, budget)
