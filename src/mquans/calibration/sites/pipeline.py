"""Calibration of networks with layers over sites: ranges, sensitivity, tolerance, validation.

Of every clip the first part gives ranges, the next one chooses factors and the tolerance, and the
last one, with stress segments of its own, judges. A plan that breaks the budget there is tightened
and validated again; repairs are counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from mquans.calibration.allocation import WeightBits, uniform_layers
from mquans.calibration.budget import (
    LEAST_FRAMES,
    MARGIN,
    QUIET_MARGIN,
    REPAIRS,
    UNIFORM_BITS,
    Clock,
    Goal,
    stressed,
)
from mquans.calibration.criticality import WITH_ERROR_WEIGHTS
from mquans.calibration.criticality import criticality as criticality_of
from mquans.calibration.measure import Bench, Measured, Segment
from mquans.calibration.observe import DenseRun, Observation, tensor_of
from mquans.calibration.result import CalibrationResult, Point, Stages
from mquans.calibration.sites.codes import code_formats
from mquans.calibration.sites.gates import (
    Factors,
    Gates,
    deviation_scales,
    uniform_scales,
    weighted_scales,
)
from mquans.calibration.sites.ranges import RangeMeter, Ranges, Reals, by_value_layers
from mquans.calibration.sites.sensitivity import (
    GateBench,
    WeightedLoss,
    as_far_as_they_help,
    best_factors,
    measured_slopes,
)
from mquans.calibration.sites.tolerance import LEAST, START, Found, search_tolerance
from mquans.calibration.workspace import Opened, Selected, Workspace, read_clips
from mquans.errors import MquansError
from mquans.graph import Graph
from mquans.plan import InputFormat, Plan, Rule
from mquans.runtime.lowering.sites import Analysis, analyse, is_site_layer
from mquans.runtime.session import Session

METHODS = ("criticality", "uniform")

LATE = 0.5
"""Share of every clip, its last part, that ranges are not taken from; the first half of it is
for selection, the second one for validation. Ranges are soon known, and there is headroom."""

PROBED = 16
"""Frames of each clip that gates are measured on."""

PROBED_CLIPS = 4

PROBED_LOSS = 0.1
"""Loss at which gates are measured under a metric of the user's: weighted errors of a detector, 1
for a frame spoilt, or those of `evaluate.agreement`."""

ROUGHLY = 1.3
"""Factor within which the tolerance is known before there are factors."""

COMPARED_BITS = range(5, 11)
"""One width for the whole network, measured beside the plan."""


def over_sites(graph: Graph) -> bool:
    """Whether a network has layers over sites."""
    return any(is_site_layer(graph, node) for node in graph.nodes)


@dataclass(frozen=True, slots=True)
class SiteSpace:
    """A network over sites and its clips, of which ranges are known."""

    space: Workspace
    analysis: Analysis
    ranges: Ranges
    rule: Rule
    weight_bits: WeightBits

    def gates(self, scales: Mapping[str, Reals]) -> Gates:
        """Gates of these scales."""
        graph, seen, format = self.space.graph, self.ranges.tensors, self.space.setup.format
        pictures = format if isinstance(format, InputFormat) else None
        formats = code_formats(graph, self.analysis, seen, pictures)
        return Gates(graph, self.analysis, formats, scales, seen, self.weight_bits)

    def uniform(self, bits: int) -> Plan:
        """The plan of one width for the whole network."""
        graph = self.space.graph
        scales = uniform_scales(graph, self.analysis, self.ranges.tensors, bits)
        layers = uniform_layers(
            graph,
            self.space.seen.ranges,
            bits=bits,
            weight_bits=self.weight_bits,
            nodes=by_value_layers(graph, self.analysis),
        )
        return msgspec.structs.replace(self.plan(self.gates(scales), 1.0), layers=layers)

    def plan(self, gates: Gates, tolerance: float, factors: Factors | None = None) -> Plan:
        """The plan of gates under a tolerance."""
        bare = self.space.plan(gates.layers(tolerance), self.rule)
        return msgspec.structs.replace(bare, tolerance=tolerance, tensors=gates.tensors(factors))


def observe_sites(
    opened: Opened, rule: Rule, weight_bits: WeightBits, *, late: float, least: int
) -> SiteSpace:
    """Reads every clip once; arguments as `workspace.observe`.

    Args:
        rule, weight_bits: of layers computed value by value.
    """
    analysis = analyse(opened.graph)
    meter = RangeMeter(opened.graph, analysis)
    run = DenseRun(
        opened.graph,
        opened.setup.options.feedback,
        threads=opened.selected.threads,
        tensors=meter.tensors,
    )
    clips = read_clips(opened, run, meter, late=late, least=least)
    ranges = meter.result()
    by_value = {
        tensor_of(node): ranges.tensors[tensor_of(node)].as_layer
        for node in by_value_layers(opened.graph, analysis)
    }
    seen = Observation(by_value, {}, ranges.frames)
    space = Workspace(opened.file, opened.graph, opened.setup, clips, seen)
    return SiteSpace(space, analysis, ranges, rule, weight_bits)


@dataclass(slots=True)
class Trials:
    """Plans along one setting, measured on the frames of selection.

    Attributes:
        plan_of: the plan at a setting: the tolerance of all gates.
        limit: loss beyond which segments that would lose even more are left out.
    """

    bench: Bench
    plan_of: Callable[[float], Plan]
    clips: Sequence[Segment]
    stress: Sequence[Segment]
    limit: float
    measured: dict[float, Measured] = field(default_factory=dict)
    found: Found = field(default_factory=Found)

    def loss(self, setting: float) -> float:
        """What a budget is kept by."""
        plan = self.plan_of(setting)
        self.measured[setting] = self.bench.measure(plan, self.clips)
        loss = self.measured[setting].worst
        if loss <= self.limit and self.stress:
            loss = max(loss, self.bench.measure(plan, self.stress).loss)
        return loss

    def best(self, budget: float, start: float = START) -> float:
        """The largest tolerance within a budget; 0 if there is none."""
        tolerance = search_tolerance(self.loss, budget, self.found, start)
        if tolerance not in self.measured:
            self.found.losses[tolerance] = self.loss(tolerance)
        return tolerance

    def work(self, setting: float) -> float:
        """Share of MACs, first frames left out."""
        return self.measured[setting].moving.macs_fraction

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
            if bits not in self.found.losses:
                self.found.losses[bits] = self.loss(bits)
            if self.found.losses[bits] <= budget:
                return bits
        return UNIFORM_BITS[-1]


def site_plan_within(
    max_loss: float, goal: Goal, opened: Opened, criticality: str | None = None
) -> CalibrationResult:
    """The plan that leaves least to do within a budget.

    Args:
        goal: of which `criticality` is not looked at.
        criticality: weighs channels, one of `criticality.METHODS`; by default they count by their
            standard deviation.

    Raises:
        MquansError: a method, an objective or a rule for single values.
    """
    _check(goal)
    clock, selected = Clock(), opened.selected
    assert goal.rule != "either"
    sites = observe_sites(opened, goal.rule, goal.weight_bits or 16, late=LATE, least=LEAST_FRAMES)
    space = sites.space
    clock.stop("ranges")
    bench = space.bench(goal.metric, threads=selected.threads)
    selection, validation = space.late(0.0, 0.5), space.late(0.5, 1.0)
    stress, validation_stress = (
        stressed(space, each) if goal.stress else [] for each in (selection, validation)
    )
    tells = bench.frozen_loss(selection) > max_loss
    budget = (MARGIN if tells else QUIET_MARGIN) * max_loss
    weights: dict[str, Reals] = {}
    factors: Factors = {}
    gates = sites.gates(deviation_scales(space.graph, sites.analysis, sites.ranges.tensors))
    trials: Trials
    if goal.method == "uniform":
        trials = Widths(bench, lambda bits: sites.uniform(int(bits)), selection, stress, budget)
    else:
        if criticality is not None:
            weights = _criticality(criticality, goal, sites, selected)
            gates = sites.gates(
                weighted_scales(space.graph, sites.analysis, sites.ranges.tensors, weights)
            )
        factors, start = _factors(gates, goal, sites, bench, selection, max_loss, selected)
        clock.stop("sensitivity")
        trials = Trials(
            bench,
            lambda tolerance: sites.plan(gates, tolerance, factors),
            selection,
            stress,
            budget,
        )
        trials.best(budget, start)
    repairs = 0
    while True:
        setting = trials.best(budget)
        plan = trials.plan_of(setting)
        reached = trials.found.losses[setting] <= budget
        measured = bench.measure(plan, validation)
        stressing = bench.measure(plan, validation_stress) if validation_stress else None
        worst = max(measured.loss, stressing.loss if stressing else 0.0)
        if worst <= max_loss or not reached or repairs == REPAIRS:
            break
        repairs += 1
        # What was used of the budget, lest the same plan be validated again.
        budget = min(budget, trials.found.losses[setting]) * MARGIN * max_loss / worst
    clock.stop("tolerance")
    uniform = {bits: bench.measure(sites.uniform(bits), validation) for bits in COMPARED_BITS}
    clock.stop("compare")
    points = [(m.work.macs_fraction, m.loss) for m in uniform.values()]
    return CalibrationResult(
        plan=plan,
        method=goal.method,
        bits=int(setting) if goal.method == "uniform" else None,
        budget=max_loss,
        reached=worst <= max_loss,
        measured=measured,
        held_out_frames=sum(len(clip.frames) for clip in validation),
        frozen_loss=bench.frozen_loss(validation),
        tuned=trials.measured[setting],
        stress=stressing,
        repairs=repairs,
        uniform=uniform,
        stages=Stages(
            observation=space.seen,
            criticality=weights,
            tried={goal.method: trials.points},
            compared={name: points for name in goal.compare if name == "uniform"},
            seconds=dict(clock.seconds),
            widths=gates.widths(plan.tolerance, factors) if goal.method != "uniform" else {},
        ),
    )


def _check(goal: Goal) -> None:
    if goal.method not in METHODS:
        raise MquansError(
            f"the method {goal.method} decides on single values, but this network is computed site "
            "by site.",
            hint=f"Choose one of: {', '.join(METHODS)}.",
        )
    if goal.objective != "macs":
        raise MquansError(
            f"the objective {goal.objective} counts changes of single values, but this network is "
            "computed site by site.",
            hint="Choose macs.",
        )
    if goal.rule == "either":
        raise MquansError(
            "the rule is of single values, but this network is computed site by site: there is "
            "nothing to choose it by.",
            hint="Choose hold or nearest.",
        )


def _criticality(method: str, goal: Goal, sites: SiteSpace, selected: Selected) -> dict[str, Reals]:
    sample = sites.space.sample
    return criticality_of(
        sites.space.graph,
        [feeds for feeds, _ in sample],
        method=method,
        feedback=sites.space.feedback,
        loss=goal.task_loss,
        error_weights=goal.error_weights if method in WITH_ERROR_WEIGHTS else None,
        labels=[label for _, label in sample],
        threads=selected.threads,
        track=selected.track,
    )


def _factors(
    gates: Gates, goal: Goal, sites: SiteSpace, bench: Bench, clips: Sequence[Segment],
    max_loss: float, selected: Selected,
) -> tuple[Factors, float]:  # fmt: skip
    """(factors of the gates, a tolerance that is about right)."""
    probed = [clip.until(PROBED) for clip in clips[:PROBED_CLIPS]]
    if all(len(clip.frames) < 2 for clip in probed):
        return {}, START
    losses = [WeightedLoss(clip.dense, bench.scored, goal.error_weights) for clip in probed]
    session = Session(sites.space.file, sites.plan(gates, START), threads=selected.threads)
    probe = GateBench(session, gates, 1.0, probed, losses)
    found = Found()

    def loss(tolerance: float) -> float:
        return probe.run(np.full(probe.groups, math.log2(tolerance)))[0]

    level = max_loss if goal.metric is None else PROBED_LOSS
    start = search_tolerance(loss, level, found, close=ROUGHLY)
    if not start or probe.groups < 2:
        return {}, start or LEAST
    octave = math.log2(start)
    slopes = measured_slopes(probe.run, probe.groups, octave, selected.track)
    best = as_far_as_they_help(probe.run, best_factors(slopes), octave)
    return probe.factors(best), start
