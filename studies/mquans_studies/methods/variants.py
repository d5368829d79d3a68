"""Plans of every method along its setting, for the comparison of methods and the ablation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np

from mquans.calibration import (
    Bench,
    Candidate,
    Curves,
    Family,
    Measured,
    Observer,
    Problem,
    Segment,
    criticality,
    layer_plans,
    problem_of,
    trace,
)
from mquans.calibration.allocation import QUANTIZERS
from mquans.calibration.allocation.grids import GRID_BITS
from mquans.calibration.allocation.quantizers import quantized
from mquans.calibration.allocation.search import FEWEST_BITS
from mquans.calibration.observe import DenseRun
from mquans.calibration.replay import observe_under
from mquans.graph import Graph
from mquans.metrics import OutputWeights
from mquans.onnx import ModelFile
from mquans.plan import LayerPlan, Plan, Provenance, Rule
from mquans.sources.frames import Feeds

TRACED_LOSSES = (0.03, 0.003)
"""Losses, as calibration measures them, around which plans are spread."""

DEMOTIONS = 6
"""Plans that are judged of one search by demotion, evenly spread."""

MOST_BITS = 10
"""Of the whole network; more only cost time here."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One line of the table.

    Attributes:
        cost: what a change is taken to cost: its `macs`, or the same for all `values`.
        boxes: criticality is that of the network's boxes, as with `calibrate --metric`.
    """

    name: str
    method: Any
    rule: Rule = "hold"
    criticality: str = "fisher"
    cost: str = "macs"
    weight_bits: Any = 16
    boxes: bool = False


VARIANTS = (
    Variant("linear, nearest (Riera et al.)", "linear", "nearest"),
    Variant("DoReFa, nearest", "dorefa", "nearest"),
    Variant("uniform, nearest", "uniform", "nearest"),
    Variant("uniform, hold", "uniform"),
    Variant("uniform, hold, int8 weights", "uniform", weight_bits=8),
    Variant("per layer, hold", "per_layer"),
    Variant("ApproxANN loop, hold", "approxann"),
    Variant("criticality, hold", "criticality"),
    Variant("per layer for boxes, hold", "per_layer", boxes=True),
    Variant("criticality for boxes, hold", "criticality", boxes=True),
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
        error_weights: what the network's boxes depend on; None where it finds none.
        seconds: by stage and criticality method.
    """

    model: ModelFile
    graph: Graph
    observed: Sequence[Sequence[Feeds]]
    tuned: Segment
    error_weights: OutputWeights | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    _criticality: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _bench: Bench = field(init=False)
    _seen: Any = field(init=False)

    def __post_init__(self) -> None:
        self._bench = Bench(self.model, self.graph)
        start = perf_counter()
        observer, run = Observer(self.graph), DenseRun(self.graph)
        for clip in self.observed:
            observer.add(clip, run)
        self._seen = observer.result()
        self.seconds["observe"] = perf_counter() - start

    def plans(self, variant: Variant) -> Iterator[tuple[float, Plan]]:
        """(setting, plan) of a variant."""
        problem = self._problem(variant)
        widths = dict.fromkeys(problem.layers, variant.weight_bits)
        start = perf_counter()
        if variant.method in QUANTIZERS:
            # Running these before they are judged would teach nothing.
            found: list[tuple[float, tuple[LayerPlan, ...]]] = [
                (
                    bits,
                    layer_plans(
                        problem, quantized(problem, variant.method, bits), weight_bits=widths
                    ),
                )
                for bits in range(FEWEST_BITS, MOST_BITS + 1)
            ]
        else:
            family = Family(
                method=variant.method,
                problem=problem,
                measure=partial(self._measure, variant.cost == "values"),
                observe=self._observe,
                probe=partial(self._probe, self.error_weights if variant.boxes else None),
                weight_bits=widths,
            )
            found = [(c.setting, c.layers) for loss in TRACED_LOSSES for c in _traced(family, loss)]
        self.seconds[variant.name] = perf_counter() - start
        for setting, layers in found:
            yield setting, self.plan(layers, variant.rule)

    def _measure(
        self, alike: bool, layers: tuple[LayerPlan, ...], rule: Rule
    ) -> tuple[Measured, None]:
        """On the tuned frames, with the MACs that changed values take part in for work or, if all
        changes are to cost alike, their number."""
        measured = self._bench.measure(self.plan(layers, rule), [self.tuned])
        for work in measured.moving.layers.values():
            work.macs_done = work.changed if alike else round(work.macs_changed)
        return measured, None

    def _observe(self, layers: tuple[LayerPlan, ...], rule: Rule) -> Mapping[str, Curves]:
        session = self._bench.session(self.plan(layers, rule))
        return observe_under(session, [self.tuned.frames]).curves

    def _probe(
        self, error_weights: OutputWeights | None, layers: tuple[LayerPlan, ...], rule: Rule
    ) -> float:
        return self._bench.mean_loss(self.plan(layers, rule), [self.tuned], error_weights)

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
        if variant.method in QUANTIZERS:
            nodes = self.graph.reuse_layers()
            neurons = {node.name: self.graph.neurons(node) for node in nodes}
            weights: Mapping[str, Any] = {name: np.zeros(n) for name, n in neurons.items()}
        else:
            weights = self._weights(variant)
        problem = problem_of(self.graph, self._seen, weights, variant.rule)
        if variant.cost == "macs":
            return problem
        sizes = {tensor.name: self.graph.types[tensor.name].size for tensor in problem.tensors}
        tensors = tuple(
            # Every reader counts its changes.
            replace(t, cost=np.full(len(t.cost), len(t.layers) * sizes[t.name] / len(t.cost)))
            for t in problem.tensors
        )
        return replace(problem, tensors=tensors)

    def _weights(self, variant: Variant) -> Mapping[str, Any]:
        method = variant.criticality
        name = f"criticality by {method}{' for boxes' if variant.boxes else ''}"
        if name not in self._criticality:
            start = perf_counter()
            frames = [frame for clip in self.observed for frame in clip]
            error_weights = self.error_weights if variant.boxes else None
            self._criticality[name] = criticality(
                self.graph, frames, method=method, error_weights=error_weights
            )
            self.seconds[name] = perf_counter() - start
        return self._criticality[name]


def _traced(family: Family, loss: float) -> list[Candidate]:
    """Plans around a loss; of a search by demotion some of those that keep it."""
    traced = trace(family, loss)
    if family.method != "approxann":
        return traced
    kept = [candidate for candidate in traced if candidate.loss <= loss]
    chosen = np.linspace(0, len(kept) - 1, min(DEMOTIONS, len(kept)))
    return [kept[index] for index in np.unique(chosen.round().astype(int))]
