"""Calibration from a model and a clip to a plan: given bits, or the cheapest within a budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mquans.calibration.allocation import GRID_BITS, WeightBits, stored_bits, uniform_layers
from mquans.calibration.allocation.pipeline import plans_of
from mquans.calibration.context import CalibrationContext, observe, open_context
from mquans.calibration.inputs import LEAST_FRAMES, Spec
from mquans.calibration.options import CalibrationOptions, RuleChoice
from mquans.calibration.resolution import Format
from mquans.calibration.result import BudgetError, CalibrationResult, Sweep
from mquans.calibration.sites import observe_sites, over_sites, site_plan_within
from mquans.errors import MquansError
from mquans.evaluate import Track, silent
from mquans.metrics import AnyMetric, load_metric
from mquans.plan import Plan, Rule
from mquans.sources import OnError

DEFAULT_BITS = 8

HELD_OUT = 0.25
"""Share of every clip, its last part, that ranges are not taken from when bits are given."""


def calibrate(
    model: Any,
    source: Spec | Sequence[str | Path],
    *,
    bits: int | None = None,
    max_loss: float | None = None,
    method: str = "criticality",
    criticality: str | None = None,
    objective: str = "macs",
    accelerator: str = "reuse",
    rule: RuleChoice = "hold",
    weight_bits: WeightBits | None = None,
    metric: AnyMetric | str | None = None,
    task_loss: Any = None,
    labels: Sequence[Any] | None = None,
    stress: bool = True,
    motion_gate: bool = False,
    compare: Sequence[str] = (),
    frames: int | None = None,
    skip: int = 0,
    stride: int = 1,
    on_error: OnError = "stop",
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    constants: Mapping[str, float] | None = None,
    feedback: Mapping[str, str] | None = None,
    carry_state: bool = False,
    input: Format | Mapping[str, Any] | None = None,
    threads: int = 1,
    track: Track = silent,
) -> Plan:
    """Makes a plan for a network from a sample of its stream.

    Args:
        model: ONNX file, its bytes, a ModelProto, or a torch module.
        source: a clip as `open_source` takes it, or a list of paths of several.
        bits: for every neuron; 8 if neither this nor max_loss is given.
        max_loss: the largest loss (95th percentile, see `metrics.agreement`, or of `metric`) on
            frames that chose nothing and on stress segments; the cheapest plan that keeps it.
        method: how precision is chosen under a budget, one of `allocation.METHODS`; of networks
            with convolutions or other layers over sites, `criticality` or `uniform`.
        criticality: how neurons are weighed, one of `criticality.METHODS`; by default `fisher`,
            and in networks over sites by 1 / standard deviation.
        objective: what is saved: `macs`, `time` as predicted from MACs and changes, or `energy`
            of changes as simulated on an accelerator; of networks over sites, `macs`.
        accelerator: for `energy`, a name or a YAML file (`mquans_studies.accelerators`).
        rule: when a held value is updated; `either`, under a budget: the rule that leaves less to
            do, not of networks over sites. `linear` and `dorefa` always take `nearest`.
        weight_bits: width of the integer weights; by default 8 where they were deployed in 8 bits
            and 16 elsewhere, and with objective `time` what each layer can afford.
        metric: the user's loss, or the name of a ready one (`mquans.metrics`).
        task_loss: its gradient at the outputs, for criticality (see `criticality.TaskLoss`).
        labels: one per frame of the clip, before selection; of several clips a list for each.
        stress: also keep the budget on segments in which more happens (see `stress`).
        motion_gate: also leave out frames of pictures in which no block of 32 by 32 pixels changes
            much, where that leaves less to do within max_loss.
        compare: further methods whose trade-offs are measured, for reports.
        frames: of every clip, at most; by default 240 shared among all, of sound and other small
            frames 4800.
        skip: first frames of every clip that are left out.
        stride: every so-many-th frame is taken.
        on_error: what to do about files that cannot be read, see `open_source`.
        input_shapes: fixed shapes of inputs, for dynamic dimensions or to override.
        constants: value of inputs that are the same in all frames, such as a sample rate.
        feedback: state inputs by the output that feeds them in the next frame; {} for none. By
            default guessed from names and shapes.
        carry_state: recurrent layers without state inputs go on where the last frame ended.
        input: how pictures or sound are prepared, or fields of `InputFormat` or `AudioFormat` over
            what is guessed, or their `preset`.
        threads: cores that the networks may use.
        track: shows progress, see `evaluate.Track`.

    Returns:
        The plan. `mquans.calibration.calibrate_fully` returns what was measured beside it.

    Raises:
        BudgetError: nothing keeps max_loss.
        ModelError, SourceError: the model or a clip cannot be used.
    """
    options = CalibrationOptions(
        method=method,
        criticality=criticality,
        objective=objective,
        accelerator=accelerator,
        rule=rule,
        weight_bits=weight_bits,
        metric=load_metric(metric) if isinstance(metric, str) else metric,
        task_loss=task_loss,
        labels=labels,
        stress=stress,
        motion_gate=motion_gate,
        compare=compare,
        frames=frames,
        skip=skip,
        stride=stride,
        on_error=on_error,
        input_shapes=input_shapes,
        constants=constants,
        feedback=feedback,
        carry_state=carry_state,
        input=input,
        threads=threads,
        track=track,
    )
    result = calibrate_fully(model, source, options, bits=bits, max_loss=max_loss)
    if not result.reached:
        raise BudgetError(result)
    return result.plan


def calibrate_fully(
    model: Any,
    source: Spec | Sequence[str | Path],
    options: CalibrationOptions | None = None,
    *,
    bits: int | None = None,
    max_loss: float | None = None,
    **fields: Any,
) -> CalibrationResult:
    """As `calibrate`, with everything that was measured; a budget out of reach does not raise.

    Args:
        model, source, bits, max_loss: as `calibrate`.
        fields: of the options, in place of those given.
    """
    if bits is not None and max_loss is not None:
        raise MquansError("bits and max_loss exclude each other.", hint="Give one of the two.")
    if bits is not None and not 1 <= bits <= GRID_BITS:
        raise MquansError(f"bits must be from 1 to {GRID_BITS}, not {bits}.")
    if max_loss is not None and not max_loss > 0:
        raise MquansError(f"the largest loss must be greater than 0, not {max_loss:g}.")
    options = replace(options or CalibrationOptions(), **fields)
    if max_loss is None and options.rule == "either":
        raise MquansError(
            "the rule can only be chosen under a budget.", hint="Give max_loss, or one rule."
        )
    if options.labels is not None and options.metric is None and options.task_loss is None:
        raise MquansError(
            "labels say nothing without a metric that takes them.",
            hint="Give a metric, such as one of the ready ones, or leave the labels away.",
        )
    if max_loss is None and (idle := options.of_a_budget):
        raise MquansError(
            f"nothing is chosen without a budget, so these say nothing: {', '.join(idle)}.",
            hint="Give max_loss, or leave them away.",
        )
    if options.motion_gate and (max_loss is None or options.method != "criticality"):
        raise MquansError(
            "the motion gate is chosen under a budget, by the method criticality.",
            hint="Give max_loss, or leave the motion gate away.",
        )
    context = open_context(model, source, options)
    if max_loss is None:
        return _of_one_width(context, bits or DEFAULT_BITS)
    if not any(node.is_reuse for node in context.graph.nodes):
        raise MquansError(
            "it has no layers with constant weights that the engine computes, so there is nothing "
            "to choose under a budget.",
            where=f"model {context.graph.name!r}",
            hint="Give bits instead of max_loss for a plan; inspect says what runs where.",
        )
    if over_sites(context.graph):
        return site_plan_within(max_loss, context)
    if options.motion_gate:
        raise MquansError(
            "a motion gate compares pictures; this network is computed value by value.",
            hint="Leave the motion gate away.",
        )
    return plans_of((max_loss,), context)[0]


def _of_one_width(context: CalibrationContext, bits: int) -> CalibrationResult:
    found = sweep(context, (bits,))
    return CalibrationResult(
        plan=found.plans[bits],
        method="uniform",
        bits=bits,
        budget=None,
        reached=True,
        measured=found.measured[bits],
        held_out_frames=found.held_out_frames,
        frozen_loss=found.frozen_loss,
        uniform=found.measured,
    )


def sweep(context: CalibrationContext, candidates: Sequence[int]) -> Sweep:
    """Measures several uniform bit widths on the last `HELD_OUT` of every clip, of which nothing
    else was taken."""
    options = context.options
    assert options.rule != "either"
    plan_of = _uniform_plans(context, options.rule)
    plans, measured = {}, {}
    for bits in options.track(candidates, "measuring", len(candidates)):
        plans[bits] = plan_of(bits)
        measured[bits] = context.bench.measure(plans[bits], context.held_out)
    held_out = sum(len(segment.frames) for segment in context.held_out)
    return Sweep(plans, measured, context.bench.frozen_loss(context.held_out), held_out)


def _uniform_plans(context: CalibrationContext, rule: Rule) -> Callable[[int], Plan]:
    """From bits to the plan of one width; reads the clips."""
    if over_sites(context.graph):
        sites = observe_sites(context, late=HELD_OUT, least=LEAST_FRAMES, rule=rule)
        return sites.uniform
    seen = observe(context, late=HELD_OUT, least=LEAST_FRAMES, rules=())

    graph = context.graph
    weight_bits = stored_bits(graph, graph.reuse_layers(), context.options.weight_bits)

    def plan_of(bits: int) -> Plan:
        layers = uniform_layers(graph, seen.ranges, bits=bits, weight_bits=weight_bits)
        return context.plan(layers, rule)

    return plan_of
