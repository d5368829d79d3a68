"""The cheapest plan within a budget: observe, criticality, allocate, verify.

Of every clip the first part is for training, the next one for selection among measured candidates,
and the last one, with stress segments of its own, for validation. A plan that breaks the budget
there is not shown
as one that keeps it: the search is repeated with a smaller budget, and repairs are counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

from mquans.calibration.allocation import (
    GRID_BITS,
    METHODS,
    QUANTIZERS,
    Candidate,
    Family,
    WeightBits,
    affordable_widths,
    allocate,
    cheapest,
    problem_of,
    trace,
)
from mquans.calibration.criticality import METHODS as CRITICALITIES
from mquans.calibration.criticality import WITH_ERROR_WEIGHTS, criticality, output_criticality
from mquans.calibration.curves import RULES, Curves
from mquans.calibration.inputs import Spec
from mquans.calibration.measure import Bench, Measured, Segment
from mquans.calibration.objectives import OBJECTIVES, cost_per_change
from mquans.calibration.replay import observe_under
from mquans.calibration.result import CalibrationResult, Point, Stages
from mquans.calibration.stress import stress_segments
from mquans.calibration.workspace import (
    Opened,
    Selected,
    Workspace,
    observe,
    open_clips,
    segment,
)
from mquans.errors import MquansError
from mquans.metrics import AnyMetric, OutputWeights
from mquans.plan import LayerPlan, Rule

LATE = 0.4
"""Share of every clip, its last part, that ranges are not taken from; the first half of it is
for selection, the second one for validation."""

LEAST_FRAMES = 8
"""Per clip: training, selection, validation."""

MARGIN = 0.85
"""Share of the budget that a plan may use on the frames that it is chosen on: others differ."""

QUIET_MARGIN = 0.4
"""The same where outputs frozen at the first frame would have kept the budget on these frames: then
only stress segments speak for the plan. Within one the loss hardly varies, in a stream that comes
alive its 95th percentile is about twice its mean (decision 16)."""

REPAIRS = 3

USED = 0.6
"""Share of a smaller budget that a candidate at hand must use, or the search is repeated."""

REPLAYED = 24
"""Frames of each clip that curves under a plan are taken from."""

PROBED = 16
"""Frames of each clip that single parts of the network are measured on."""

UNIFORM_BITS = range(4, GRID_BITS + 1)
"""Measured beside the plan: what one width for the whole network would do."""

RuleChoice = Rule | Literal["either"]
"""A rule, or the one under which less is left to do."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What the user wants besides a budget; fields as the arguments of `calibrate_fully`."""

    method: str = "criticality"
    criticality: str = "fisher"
    objective: str = "macs"
    accelerator: str = "reuse"
    rule: RuleChoice = "hold"
    weight_bits: WeightBits | None = None
    metric: AnyMetric | None = None
    task_loss: Any = None
    stress: bool = True
    compare: tuple[str, ...] = ()

    @property
    def error_weights(self) -> OutputWeights | None:
        """What the metric makes of errors at the outputs, where it says so and criticality can
        follow."""
        follows = self.criticality in WITH_ERROR_WEIGHTS and self.task_loss is None
        found: OutputWeights | None = getattr(self.metric, "error_weights", None)
        return found if follows else None

    def __post_init__(self) -> None:
        for kind, name, known in (
            ("method", self.method, METHODS),
            *(("method", name, METHODS) for name in self.compare),
            ("criticality method", self.criticality, CRITICALITIES),
            ("objective", self.objective, OBJECTIVES),
        ):
            if name not in known:
                raise MquansError(
                    f"there is no {kind} {name!r}.", hint=f"Choose one of: {', '.join(known)}."
                )


class Clock:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = perf_counter()

    def stop(self, stage: str) -> None:
        now = perf_counter()
        self.seconds[stage] = round(now - self._last, 3)
        self._last = now


@dataclass(frozen=True, slots=True)
class _Field:
    """Where candidates are measured: on clips, and on stress segments made from them."""

    bench: Bench
    space: Workspace
    clips: Sequence[Segment]
    stress: Sequence[Segment]
    error_weights: OutputWeights | None

    def measure(
        self, layers: tuple[LayerPlan, ...], rule: Rule
    ) -> tuple[Measured, Measured | None]:
        plan = self.space.plan(layers, rule)
        measured = self.bench.measure(plan, self.clips)
        return measured, self.bench.measure(plan, self.stress) if self.stress else None

    def observe(self, layers: tuple[LayerPlan, ...], rule: Rule) -> dict[str, Curves]:
        """Curves of all tensors under these layers."""
        plan = self.space.plan(layers, rule)
        clips = [clip.frames[:REPLAYED] for clip in self.clips]
        return observe_under(self.bench.session(plan), clips).curves

    def probe(self, layers: tuple[LayerPlan, ...], rule: Rule) -> float:
        """Mean loss on few frames, as criticality counts it."""
        short = [clip.until(PROBED) for clip in self.clips]
        return self.bench.mean_loss(self.space.plan(layers, rule), short, self.error_weights)

    def measure_clips(self, layers: tuple[LayerPlan, ...], rule: Rule) -> tuple[Measured, None]:
        """Without stress segments: for what is shown, not chosen."""
        return self.bench.measure(self.space.plan(layers, rule), self.clips), None


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What plans for all budgets share."""

    goal: Goal
    selected: Selected
    space: Workspace
    weights: dict[str, Any]
    selection: _Field
    validation: _Field
    clock: Clock


def plans_within(
    budgets: Sequence[float],
    goal: Goal,
    model: Any,
    source: Spec | Sequence[str | Path],
    selected: Selected,
) -> list[CalibrationResult]:
    """For each budget the cheapest plan of the goal's method that keeps it; ranges are taken, and
    neurons weighed, once."""
    return plans_of(budgets, goal, open_clips(model, source, selected))


def plans_of(budgets: Sequence[float], goal: Goal, opened: Opened) -> list[CalibrationResult]:
    """As `plans_within`, of clips that are open."""
    clock, selected = Clock(), opened.selected
    space = observe(opened, late=LATE, least=LEAST_FRAMES, rules=("hold", "nearest"))
    clock.stop("observe")
    weights = _criticality(goal, space, selected)
    clock.stop("criticality")
    bench = space.bench(goal.metric, threads=selected.threads)
    prepared = _Prepared(
        goal,
        selected,
        space,
        weights,
        selection=_field(goal, bench, space, 0.0, 0.5),
        validation=_field(goal, bench, space, 0.5, 1.0),
        clock=clock,
    )
    return [_plan_within(max_loss, prepared) for max_loss in budgets]


def _plan_within(max_loss: float, prepared: _Prepared) -> CalibrationResult:
    rule = prepared.goal.rule
    rules: Sequence[Rule] = RULES if rule == "either" else (rule,)
    found = [_plan_under(each, max_loss, prepared) for each in rules]
    return min(found, key=lambda one: (not one.reached, one.measured.work.macs_fraction))


def _plan_under(rule: Rule, max_loss: float, prepared: _Prepared) -> CalibrationResult:
    goal, selected, space = prepared.goal, prepared.selected, prepared.space
    weights, selection, validation = prepared.weights, prepared.selection, prepared.validation
    bench, clock = selection.bench, prepared.clock
    per_change = cost_per_change(goal.objective, space.graph, rule, goal.accelerator)
    problem = problem_of(space.graph, space.seen, weights, rule, goal.objective, per_change)
    family = Family(
        method=goal.method,
        problem=problem,
        measure=selection.measure,
        observe=selection.observe,
        probe=selection.probe,
        weight_bits=_widths(goal, max_loss, space, selected),
        track=selected.track,
    )
    tells = bench.frozen_loss(selection.clips) > max_loss
    budget = (MARGIN if tells else QUIET_MARGIN) * max_loss
    repairs = 0
    found = allocate(family, budget)
    tried = list(found.tried)
    while True:
        measured, stress = validation.measure(found.best.layers, found.best.rule)
        worst = max(measured.loss, stress.loss if stress else 0.0)
        reached = worst <= max_loss
        if reached or not found.reached or repairs == REPAIRS:
            break
        repairs += 1
        budget *= MARGIN * max_loss / worst
        known = cheapest(tried, budget)
        if known.reached and known.best.loss >= USED * budget:
            found = known
        else:
            found = allocate(family, budget)
            tried += found.tried
    clock.stop("allocate")
    shown = replace(
        family, measure=validation.measure_clips, observe=validation.observe, probe=validation.probe
    )
    compared = {
        method: [_point(candidate) for candidate in trace(replace(shown, method=method), budget)]
        for method in goal.compare
    }
    uniform = replace(shown, method="uniform")
    widths = {bits: uniform.at(bits).measured for bits in UNIFORM_BITS}
    clock.stop("compare")
    return CalibrationResult(
        plan=space.plan(found.best.layers, found.best.rule),
        method=goal.method,
        bits=round(found.best.setting) if goal.method in QUANTIZERS else None,
        budget=max_loss,
        reached=reached,
        measured=measured,
        held_out_frames=sum(len(clip.frames) for clip in validation.clips),
        frozen_loss=bench.frozen_loss(validation.clips),
        tuned=found.best.measured,
        stress=stress,
        repairs=repairs,
        uniform=widths,
        stages=Stages(
            observation=space.seen,
            criticality=weights,
            tried={goal.method: [_point(candidate) for candidate in tried]},
            compared=compared,
            seconds=dict(clock.seconds),
        ),
    )


def _criticality(goal: Goal, space: Workspace, selected: Selected) -> dict[str, Any]:
    sample = space.sample
    return criticality(
        space.graph,
        [feeds for feeds, _ in sample],
        method=goal.criticality,
        feedback=space.feedback,
        loss=goal.task_loss,
        error_weights=goal.error_weights,
        labels=[label for _, label in sample],
        threads=selected.threads,
        track=selected.track,
    )


def _widths(
    goal: Goal, max_loss: float, space: Workspace, selected: Selected
) -> dict[str, WeightBits]:
    """Width of the weights by layer."""
    if goal.weight_bits is not None or goal.objective != "time":
        return {node.name: goal.weight_bits or 16 for node in space.graph.reuse_layers()}
    frames = [feeds for feeds, _ in space.sample]
    criticality = output_criticality(
        space.graph,
        frames,
        feedback=space.feedback,
        threads=selected.threads,
        track=selected.track,
    )
    return affordable_widths(space.graph, space.seen, criticality, max_loss)


def _field(goal: Goal, bench: Bench, space: Workspace, start: float, stop: float) -> _Field:
    clips = space.late(start, stop)
    return _Field(
        bench, space, clips, stressed(space, clips) if goal.stress else [], goal.error_weights
    )


def stressed(space: Workspace, clips: Sequence[Segment]) -> list[Segment]:
    """Stress segments made from parts of the clips, one after the other."""
    found = []
    for clip, own in zip(space.clips, clips, strict=True):
        items = list(zip(own.frames, own.labels, strict=True))
        made = stress_segments(items, space.distant(clip), space.setup.format)
        found += [segment(frames) for frames in made if frames]
    return found


def _point(candidate: Candidate) -> Point:
    return candidate.measured.work.macs_fraction, candidate.loss
