"""Which layers are better computed dense: chosen on calibration data, for energy or time."""

from __future__ import annotations

from typing import Literal

from mquans_studies.accelerators.accelerator import Accelerator
from mquans_studies.accelerators.model import LayerCost, moving_layers, network_cost
from mquans_studies.accelerators.schemes import SCHEMES, Scheme
from mquans_studies.traces.trace import Trace

Objective = Literal["energy", "time"]


def cheaper_dense(
    trace: Trace, design: Accelerator, scheme: Scheme, objective: Objective = "energy"
) -> frozenset[str]:
    """Layers that a scheme had better leave dense on this trace; with them the network takes no
    more than dense, and no more than the pure scheme.

    What a layer costs depends on its neighbours: a dense one makes everything new to its readers,
    and leaves room for their state. So choices begin with the layers that cost more than dense by
    themselves, with none, and with all, and are changed layer by layer while that helps.
    """
    layers = moving_layers(trace)
    names = [layer.shape.name for layer in layers]

    def spent(dense: frozenset[str]) -> list[float]:
        found = network_cost(layers, trace.rule, design, scheme, dense)
        return [_spent(cost, objective) for cost in found]

    def total(dense: frozenset[str]) -> float:
        return sum(spent(dense))

    pure = spent(frozenset())
    baseline = [
        _spent(cost, objective)
        for cost in network_cost(layers, trace.rule, design, SCHEMES[scheme.baseline], frozenset())
    ]
    alone = frozenset(
        name for name, mine, dense in zip(names, pure, baseline, strict=True) if mine > dense
    )
    best = min((alone, frozenset[str](), frozenset(names)), key=total)
    least = total(best)
    better = True
    while better:
        better = False
        for name in names:
            other = best ^ {name}
            cost = total(other)
            if cost < least:
                best, least, better = other, cost, True
    return best


def _spent(cost: LayerCost, objective: Objective) -> float:
    spent = cost.energy if objective == "energy" else cost.cycles
    return float(spent.mean())
