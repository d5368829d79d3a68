"""Plans of every method along its knob, for the comparison of methods and the ablation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any

import numpy as np

from mquans.calibration import (
    Bench,
    Candidate,
    Family,
    Measured,
    Observer,
    Problem,
    Segment,
    criticality,
    layer_plans,
    problem_of,
    solve,
)
from mquans.calibration.allocation import QUANTIZERS, work_factors
from mquans.calibration.allocation.approxann import search_demotions
from mquans.calibration.allocation.grids import GRID_BITS
from mquans.evaluate import Feeds
from mquans.graph import Graph
from mquans.importers import ModelFile
from mquans.plan import LayerPlan, Plan, Provenance, Rule

BITS = (4, 5, 6, 7, 8, 9, 10)
WORK = (0.04, 0.08, 0.15, 0.3, 0.5, 0.75)
"""Predicted shares of the MACs at which methods without bits are measured."""

REFINED = 2
"""How often predicted work is corrected by measured work, as calibration does."""

DEMOTION_BUDGET = 0.3
DEMOTIONS = 6
"""Plans that are judged of one search by demotion, evenly spread."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One line of the table.

    Attributes:
        cost: what a change is taken to cost: its `macs`, or the same for all `values`.
    """

    name: str
    method: Any
    rule: Rule = "hold"
    criticality: str = "fisher"
    cost: str = "macs"
    weight_bits: Any = 16


VARIANTS = (
    Variant("linear, nearest (Riera et al.)", "linear", "nearest"),
    Variant("DoReFa, nearest", "dorefa", "nearest"),
    Variant("uniform, nearest", "uniform", "nearest"),
    Variant("uniform, hold", "uniform"),
    Variant("uniform, hold, int8 weights", "uniform", weight_bits=8),
    Variant("per layer, hold", "per_layer"),
    Variant("ApproxANN loop, hold", "approxann"),
    Variant("criticality, hold", "criticality"),
    Variant("criticality, nearest", "criticality", "nearest"),
    Variant("criticality, hold, all changes cost alike", "criticality", cost="values"),
    Variant("criticality, hold, int8 weights", "criticality", weight_bits=8),
    Variant("criticality by taylor, hold", "criticality", criticality="taylor"),
    Variant("criticality by closed_form, hold", "criticality", criticality="closed_form"),
    Variant("criticality by perturb, hold", "criticality", criticality="perturb"),
)


@dataclass(slots=True)
class Calibration:
    """A network on the first part of a stream.

    Attributes:
        observed: clips that ranges and curves are taken from.
        tuned: frames on which candidates are run before they are judged elsewhere.
        seconds: by stage and criticality method.
    """

    model: ModelFile
    graph: Graph
    observed: Sequence[Sequence[Feeds]]
    tuned: Segment
    seconds: dict[str, float] = field(default_factory=dict)
    _criticality: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _bench: Bench = field(init=False)
    _seen: Any = field(init=False)

    def __post_init__(self) -> None:
        self._bench = Bench(self.model, self.graph)
        start = perf_counter()
        observer = Observer(self.graph)
        for clip in self.observed:
            observer.add(clip)
        self._seen = observer.result()
        self.seconds["observe"] = perf_counter() - start

    def plans(self, variant: Variant) -> Iterator[tuple[float, Plan]]:
        """(knob, plan) of a variant."""
        problem = self._problem(variant)
        widths = dict.fromkeys(problem.layers, variant.weight_bits)
        start = perf_counter()
        if variant.method in QUANTIZERS:
            # Running these before they are judged would teach nothing.
            quantizer = QUANTIZERS[variant.method]
            found = [
                (bits, layer_plans(problem, quantizer(problem, bits), weight_bits=widths))
                for bits in BITS
            ]
        else:
            family = Family(variant.method, problem, self._measure, widths)
            if variant.method == "approxann":
                candidates = _accepted(search_demotions(family, DEMOTION_BUDGET))
            else:
                candidates = [_refined(family, work) for work in WORK]
            found = [(candidate.knob, candidate.layers) for candidate in candidates]
        self.seconds[variant.name] = perf_counter() - start
        for knob, layers in found:
            yield knob, self.plan(layers, variant.rule)

    def _measure(self, layers: tuple[LayerPlan, ...], rule: Rule) -> tuple[Measured, None]:
        return self._bench.measure(self.plan(layers, rule), [self.tuned]), None

    def plan(self, layers: tuple[LayerPlan, ...], rule: Rule) -> Plan:
        return Plan(
            model=self.model.name,
            model_sha256=self.model.sha256,
            input_shapes={name: self.graph.shape(name) for name in self.graph.inputs},
            rule=rule,
            grid_bits=GRID_BITS,
            layers=layers,
            provenance=Provenance(mquans="benchmark", sources=(), frames=0, created=""),
        )

    def _problem(self, variant: Variant) -> Problem:
        method = variant.criticality
        if method not in self._criticality:
            start = perf_counter()
            frames = [frame for clip in self.observed for frame in clip]
            self._criticality[method] = criticality(self.graph, frames, method=method)
            self.seconds[f"criticality by {method}"] = perf_counter() - start
        problem = problem_of(self.graph, self._seen, self._criticality[method], variant.rule)
        if variant.cost == "macs":
            return problem
        shapes = {tensor.name: self.graph.types[tensor.name].size for tensor in problem.tensors}
        alike = problem.macs / sum(shapes.values())
        tensors = tuple(
            replace(t, cost=np.full(len(t.cost), alike * shapes[t.name] / len(t.cost)))
            for t in problem.tensors
        )
        return replace(problem, tensors=tensors)


def _refined(family: Family, work: float) -> Candidate:
    """The candidate at the price where a share of the MACs is predicted, its work then corrected by
    what is measured."""
    low, high = -20.0, 40.0
    per_tensor = family.method == "per_layer"
    for _ in range(16):
        price = (low + high) / 2
        predicted = solve(family.problem, 2.0**price, per_tensor=per_tensor)
        low, high = (price, high) if predicted.macs < work * family.problem.macs else (low, price)
    candidate = family.at(price)
    for _ in range(REFINED):
        measured = candidate.measured.moving
        candidate = family.at(price, work_factors(family.problem, candidate.steps, measured))
    return candidate


def _accepted(tried: Sequence[Candidate]) -> list[Candidate]:
    """Some of the candidates that kept the budget of the search, by falling work."""
    kept = [candidate for candidate in tried if candidate.loss <= DEMOTION_BUDGET]
    chosen = np.unique(np.linspace(0, len(kept) - 1, DEMOTIONS).round().astype(int))
    return [kept[index] for index in chosen]
