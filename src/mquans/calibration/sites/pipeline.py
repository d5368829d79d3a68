"""Calibration of networks with layers over sites: ranges, sensitivity, tolerance, validation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
import numpy as np

from mquans.calibration.allocation import WeightBits, stored_bits, uniform_layers
from mquans.calibration.allocation.pipeline import LEAST_FRAMES
from mquans.calibration.context import CalibrationContext
from mquans.calibration.observe import Observation, tensor_of
from mquans.calibration.options import CalibrationOptions
from mquans.calibration.result import CalibrationResult, Stages
from mquans.calibration.sites.code_format import CodeFormat
from mquans.calibration.sites.codes import code_formats
from mquans.calibration.sites.gates import (
    Factors,
    Gates,
    deviation_scales,
    uniform_scales,
    weighted_scales,
)
from mquans.calibration.sites.loudness import beyond_codes
from mquans.calibration.sites.motion import MotionTrials
from mquans.calibration.sites.ranges import RangeMeter, Ranges, Reals, by_value_layers
from mquans.calibration.sites.sensitivity import (
    GateBench,
    WeightedLoss,
    as_far_as_they_help,
    best_factors,
    measured_slopes,
)
from mquans.calibration.sites.tolerance import LEAST, START, Found, search_tolerance
from mquans.calibration.sites.trials import Trials, Widths
from mquans.calibration.validation import clips_tell, first_budget, validate
from mquans.errors import MquansError
from mquans.graph import Graph
from mquans.plan import InputFormat, Plan, Rule
from mquans.runtime.lowering.inputs import takes_pictures
from mquans.runtime.lowering.sites import Analysis, analyse, is_site_layer
from mquans.runtime.session import Session

METHODS = ("criticality", "uniform")

LATE = 0.5
"""Share of every clip, its last part, that ranges are not taken from: half of it is for selection,
half for validation. Ranges are soon known, and there is headroom."""

PROBED = 16
"""Frames of each clip that gates are measured on."""

PROBED_CLIPS = 4

PROBED_LOSS = 0.1
"""Loss at which gates are measured under a metric of the user's: weighted errors of a detector, 1
for a frame spoilt, or those of `metrics.agreement`."""

ROUGHLY = 1.3
"""Factor within which the tolerance is known before there are factors."""

COMPARED_BITS = range(5, 11)
"""One width for the whole network, measured beside the plan."""


def over_sites(graph: Graph) -> bool:
    """Whether a network has layers over sites."""
    return any(is_site_layer(graph, node) for node in graph.nodes)


@dataclass(frozen=True, slots=True)
class SitePlans:
    """Makes plans of a network over sites whose ranges are known.

    Attributes:
        formats: codes of every tensor that plans speak of.
        seen: ranges of layers value by value.
        rule, weight_bits: of those layers.
    """

    context: CalibrationContext
    analysis: Analysis
    ranges: Ranges
    formats: Mapping[str, CodeFormat]
    seen: Observation
    rule: Rule
    weight_bits: Mapping[str, WeightBits]

    def gates(self, scales: Mapping[str, Reals]) -> Gates:
        """Gates of these scales."""
        graph, seen = self.context.graph, self.ranges
        return Gates(
            graph,
            self.analysis,
            self.formats,
            scales,
            seen.tensors,
            seen.values,
            self.weight_bits,
        )

    def plain_gates(self) -> Gates:
        """Gates whose channels count by their standard deviation."""
        return self.gates(deviation_scales(self.context.graph, self.analysis, self.ranges.tensors))

    def uniform(self, bits: int) -> Plan:
        """The plan of one width for the whole network."""
        graph = self.context.graph
        scales = uniform_scales(graph, self.analysis, self.ranges.tensors, bits)
        layers = uniform_layers(
            graph,
            self.seen.ranges,
            bits=bits,
            weight_bits=self.weight_bits,
            nodes=by_value_layers(graph, self.analysis),
        )
        return msgspec.structs.replace(self.plan(self.gates(scales), 1.0), layers=layers)

    def plan(self, gates: Gates, tolerance: float, factors: Factors | None = None) -> Plan:
        """The plan of gates under a tolerance."""
        bare = self.context.plan(gates.layers(tolerance), self.rule)
        return msgspec.structs.replace(bare, tolerance=tolerance, tensors=gates.tensors(factors))


def observe_sites(context: CalibrationContext, *, late: float, least: int, rule: Rule) -> SitePlans:
    """The first stage: ranges of every tensor.

    Args:
        late, least: as `CalibrationContext.read`.
        rule: of layers computed value by value.
    """
    graph = context.graph
    analysis = analyse(graph)
    meter = RangeMeter(graph, analysis)
    context.read(meter, late=late, least=least, tensors=meter.tensors)
    ranges = meter.result()
    by_value = {
        tensor_of(node): ranges.values[tensor_of(node)].as_layer
        for node in by_value_layers(graph, analysis)
    }
    format = context.setup.format
    pictures = format if isinstance(format, InputFormat) else None
    formats = code_formats(graph, analysis, ranges.tensors, pictures)
    if floats := beyond_codes(graph, analysis, formats, ranges):
        context.compute_in_floats(floats)
        graph = context.graph
        analysis = analyse(graph)
        formats = code_formats(graph, analysis, ranges.tensors, pictures)
    seen = Observation(by_value, {}, ranges.frames)
    nodes = by_value_layers(graph, analysis)
    weight_bits = stored_bits(graph, nodes, context.options.weight_bits)
    return SitePlans(context, analysis, ranges, formats, seen, rule, weight_bits)


def site_plan_within(max_loss: float, context: CalibrationContext) -> CalibrationResult:
    """The plan that leaves least to do within a budget.

    Raises:
        MquansError: a method, an objective or a rule for single values.
    """
    options, clock = context.options, context.clock
    if options.motion_gate and not takes_pictures(context.graph, analyse(context.graph)):
        raise MquansError(
            "no input of the network is a picture of up to four channels, which a motion gate "
            "compares.",
            hint="Leave the motion gate away.",
        )
    plans = observe_sites(context, late=LATE, least=LEAST_FRAMES, rule=_checked_rule(options))
    clock.stop("ranges")
    weights: Mapping[str, Reals] = {}
    if options.criticality is not None and options.method != "uniform":
        weights = context.criticality(options.criticality)
    gates = plans.plain_gates()
    factors: Factors = {}
    budget = first_budget(context, max_loss)
    trials: Trials
    if options.method == "uniform":
        trials = Widths(
            context.bench, lambda bits: plans.uniform(int(bits)), context.selection, budget
        )
    else:
        if weights:
            seen = plans.ranges.tensors
            gates = plans.gates(weighted_scales(context.graph, plans.analysis, seen, weights))
        factors, start = _factors(gates, plans, max_loss)
        clock.stop("sensitivity")
        trials = Trials(
            context.bench,
            lambda tolerance: plans.plan(gates, tolerance, factors),
            context.selection,
            budget,
        )
        trials.best(budget, start)
    search: Trials | MotionTrials = trials
    if options.motion_gate and clips_tell(context, max_loss):
        search = MotionTrials(trials)
    validated = validate(context, max_loss, budget, search.choose)
    clock.stop("tolerance")
    bench, clips = context.bench, context.validation.clips
    uniform = {bits: bench.measure(plans.uniform(bits), clips) for bits in COMPARED_BITS}
    clock.stop("compare")
    points = [(m.work.macs_fraction, m.loss) for m in uniform.values()]
    plan = validated.choice.plan
    return CalibrationResult(
        plan=plan,
        method=options.method,
        bits=int(trials.setting) if options.method == "uniform" else None,
        budget=max_loss,
        reached=validated.reached,
        measured=validated.measured,
        held_out_frames=context.validation.frames,
        frozen_loss=bench.frozen_loss(clips),
        tuned=validated.choice.measured,
        stress=validated.stress,
        repairs=validated.repairs,
        uniform=uniform,
        stages=Stages(
            observation=plans.seen,
            criticality=weights,
            tried={options.method: search.points},
            compared={name: points for name in options.compare if name == "uniform"},
            seconds=dict(clock.seconds),
            widths=gates.widths(plan.tolerance, factors) if options.method != "uniform" else {},
        ),
    )


def _checked_rule(options: CalibrationOptions) -> Rule:
    """The rule of layers value by value, once nothing is asked for that is of single values."""
    if options.method not in METHODS:
        raise MquansError(
            f"the method {options.method} decides on single values, but this network is computed "
            "site by site.",
            hint=f"Choose one of: {', '.join(METHODS)}.",
        )
    if options.objective != "macs":
        raise MquansError(
            f"the objective {options.objective} counts changes of single values, but this network "
            "is computed site by site.",
            hint="Choose macs.",
        )
    if options.rule == "either":
        raise MquansError(
            "the rule is of single values, but this network is computed site by site: there is "
            "nothing to choose it by.",
            hint="Choose hold or nearest.",
        )
    return options.rule


def _factors(gates: Gates, plans: SitePlans, max_loss: float) -> tuple[Factors, float]:
    """(factors of the gates, a tolerance that is about right)."""
    context, options = plans.context, plans.context.options
    probed = [clip.until(PROBED) for clip in context.selection.clips[:PROBED_CLIPS]]
    if all(len(clip.frames) < 2 for clip in probed):
        return {}, START
    bench = context.bench
    losses = [WeightedLoss(clip.dense, bench.scored, context.error_weights) for clip in probed]
    session = Session(context.file, plans.plan(gates, START), threads=options.threads)
    probe = GateBench(session, gates, 1.0, probed, losses, bench.inner_values)
    found = Found()

    def loss(tolerance: float) -> float:
        return probe.run(np.full(probe.groups, math.log2(tolerance)))[0]

    level = max_loss if options.metric is None else PROBED_LOSS
    start = search_tolerance(loss, level, found, close=ROUGHLY)
    if not start or probe.groups < 2:
        return {}, start or LEAST
    octave = math.log2(start)
    slopes = measured_slopes(probe.run, probe.groups, octave, options.track)
    best = as_far_as_they_help(probe.run, best_factors(slopes), octave)
    return probe.factors(best), start
