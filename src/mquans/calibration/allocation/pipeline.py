"""The cheapest plan value by value within a budget: observe, criticality, allocate, validate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mquans.calibration.allocation import (
    GRID_BITS,
    QUANTIZERS,
    Candidate,
    Family,
    WeightBits,
    affordable_widths,
    allocate,
    cheapest,
    problem_of,
    stored_bits,
    trace,
)
from mquans.calibration.context import CalibrationContext, Part, observe, open_context
from mquans.calibration.criticality import output_criticality
from mquans.calibration.curves import RULES, Curves
from mquans.calibration.inputs import Spec
from mquans.calibration.measure import Measured
from mquans.calibration.objectives import layer_energies
from mquans.calibration.observe import Observation
from mquans.calibration.options import DEFAULT_CRITICALITY, CalibrationOptions
from mquans.calibration.replay import observe_under
from mquans.calibration.result import CalibrationResult, Point, Stages
from mquans.calibration.validation import Choice, first_budget, validate
from mquans.plan import LayerPlan, Rule

LATE = 0.4
"""Share of every clip, its last part, that ranges are not taken from: half of it is for selection,
half for validation."""

LEAST_FRAMES = 8
"""Per clip, in all three parts."""

USED = 0.6
"""Share of a smaller budget that a candidate at hand must use, or the search is repeated."""

REPLAYED = 24
"""Frames of each clip that curves under a plan are taken from."""

PROBED = 16
"""Frames of each clip that single parts of the network are measured on."""

UNIFORM_BITS = range(4, GRID_BITS + 1)
"""Measured beside the plan: what one width for the whole network would do."""

Weights = Mapping[str, npt.NDArray[np.float64]]


def plans_within(
    budgets: Sequence[float],
    model: Any,
    source: Spec | Sequence[str | Path],
    options: CalibrationOptions | None = None,
) -> list[CalibrationResult]:
    """For each budget the cheapest plan of the options' method that keeps it; ranges are taken, and
    neurons weighed, once."""
    return plans_of(budgets, open_context(model, source, options))


def plans_of(budgets: Sequence[float], context: CalibrationContext) -> list[CalibrationResult]:
    """As `plans_within`, of a network and clips that are open."""
    seen = observe(context, late=LATE, least=LEAST_FRAMES, rules=RULES)
    context.clock.stop("observe")
    weights = context.criticality(context.options.criticality or DEFAULT_CRITICALITY)
    context.clock.stop("criticality")
    rule = context.options.rule
    rules: Sequence[Rule] = RULES if rule == "either" else (rule,)
    results = []
    for max_loss in budgets:
        budget = first_budget(context, max_loss)
        found = [_plan_within(max_loss, budget, each, context, seen, weights) for each in rules]
        results.append(
            min(found, key=lambda one: (not one.reached, one.measured.work.macs_fraction))
        )
    return results


def _plan_within(
    max_loss: float,
    budget: float,
    rule: Rule,
    context: CalibrationContext,
    seen: Observation,
    weights: Weights,
) -> CalibrationResult:
    options, clock = context.options, context.clock
    selecting = _Runs(context, context.selection)
    family = Family(
        method=options.method,
        problem=problem_of(
            context.graph,
            seen,
            weights,
            rule,
            options.objective,
            layer_energies(options.objective, context.graph, rule, options.accelerator),
        ),
        measure=selecting.measure,
        observe=selecting.observe,
        probe=selecting.probe,
        weight_bits=_widths(max_loss, context, seen),
        track=options.track,
    )
    search = _Search(context, family)
    validated = validate(context, max_loss, budget, search.choose)
    clock.stop("allocate")
    validating = _Runs(context, context.validation, stress=False)
    shown = replace(
        family,
        measure=validating.measure,
        observe=validating.observe,
        probe=validating.probe,
    )
    compared = {
        method: [_point(candidate) for candidate in trace(replace(shown, method=method), budget)]
        for method in options.compare
    }
    uniform = replace(shown, method="uniform")
    widths = {bits: uniform.at(bits).measured for bits in UNIFORM_BITS}
    clock.stop("compare")
    return CalibrationResult(
        plan=validated.choice.plan,
        method=options.method,
        bits=round(search.best.setting) if options.method in QUANTIZERS else None,
        budget=max_loss,
        reached=validated.reached,
        measured=validated.measured,
        held_out_frames=context.validation.frames,
        frozen_loss=context.bench.frozen_loss(context.validation.clips),
        tuned=validated.choice.measured,
        stress=validated.stress,
        repairs=validated.repairs,
        uniform=widths,
        stages=Stages(
            observation=seen,
            criticality=weights,
            tried={options.method: [_point(candidate) for candidate in search.tried]},
            compared=compared,
            seconds=dict(clock.seconds),
        ),
    )


@dataclass(slots=True)
class _Search:
    """Candidates of a method, all that were measured so far."""

    context: CalibrationContext
    family: Family
    tried: list[Candidate] = field(default_factory=list)
    best: Candidate = field(init=False)

    def choose(self, budget: float) -> Choice:
        """The cheapest one within a budget."""
        found = cheapest(self.tried, budget) if self.tried else None
        if found is None or not found.reached or found.best.loss < USED * budget:
            found = allocate(self.family, budget)
            self.tried += found.tried
        self.best = found.best
        plan = self.context.plan(found.best.layers, found.best.rule)
        return Choice(plan, found.best.loss, found.reached, found.best.measured)


@dataclass(frozen=True, slots=True)
class _Runs:
    """Plans of given layers, run on a part of the clips.

    Attributes:
        stress: whether its stress segments count: not for what is shown instead of chosen.
    """

    context: CalibrationContext
    part: Part
    stress: bool = True

    def measure(
        self, layers: tuple[LayerPlan, ...], rule: Rule
    ) -> tuple[Measured, Measured | None]:
        bench, plan = self.context.bench, self.context.plan(layers, rule)
        measured = bench.measure(plan, self.part.clips)
        stressing = self.part.stress if self.stress else []
        return measured, bench.measure(plan, stressing) if stressing else None

    def observe(self, layers: tuple[LayerPlan, ...], rule: Rule) -> dict[str, Curves]:
        """Curves of all tensors under these layers."""
        plan = self.context.plan(layers, rule)
        clips = [clip.frames[:REPLAYED] for clip in self.part.clips]
        return observe_under(self.context.bench.session(plan), clips).curves

    def probe(self, layers: tuple[LayerPlan, ...], rule: Rule) -> float:
        """Mean loss on few frames, as criticality counts it."""
        short = [clip.until(PROBED) for clip in self.part.clips]
        plan = self.context.plan(layers, rule)
        return self.context.bench.mean_loss(plan, short, self.context.error_weights)


def _widths(
    max_loss: float, context: CalibrationContext, seen: Observation
) -> dict[str, WeightBits]:
    """Width of the weights by layer."""
    options, graph = context.options, context.graph
    if options.weight_bits is not None or options.objective != "time":
        return stored_bits(graph, graph.reuse_layers(), options.weight_bits)
    found = output_criticality(
        graph,
        [feeds for feeds, _ in context.training],
        feedback=context.feedback,
        threads=options.threads,
        track=options.track,
    )
    return affordable_widths(graph, seen, found, max_loss)


def _point(candidate: Candidate) -> Point:
    return candidate.measured.work.macs_fraction, candidate.loss
