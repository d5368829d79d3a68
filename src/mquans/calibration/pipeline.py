"""Calibration from a model and a clip to a plan: given bits, or the cheapest within a budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

from mquans.calibration.allocation import GRID_BITS, WeightBits, uniform_layers
from mquans.calibration.budget import Goal, RuleChoice, plans_of
from mquans.calibration.inputs import LEAST_FRAMES, Spec
from mquans.calibration.resolution import Format
from mquans.calibration.result import BudgetError, CalibrationResult, Sweep
from mquans.calibration.sites import observe_sites, over_sites, site_plan_within
from mquans.calibration.workspace import Opened, Selected, Workspace, observe, open_clips
from mquans.errors import MquansError
from mquans.evaluate import Track, silent
from mquans.metrics import AnyMetric, load_metric
from mquans.plan import Plan, Rule
from mquans.sources import OnError

DEFAULT_BITS = 8

HELD_OUT = 0.25
"""Share of every clip, its last part, that ranges are not taken from when bits are given."""


class CalibrationOptions(TypedDict, total=False):
    """What `calibrate` can be told beyond bits and budget.

    Attributes:
        method: how precision is chosen under a budget, one of `allocation.METHODS`; of networks
            with convolutions or other layers over sites, `criticality` or `uniform`.
        criticality: how neurons are weighed, one of `criticality.METHODS`; by default `fisher`,
            and in networks over sites by 1 / standard deviation.
        objective: what is saved: `macs`, `time` as predicted from MACs and changes, or `energy`
            of changes as simulated on an accelerator; of networks over sites, `macs`.
        accelerator: for `energy`, a name or a YAML file (`mquans_studies.accelerators`).
        rule: when a held value is updated; `either`, under a budget: the rule that leaves less to
            do, not of networks over sites. `linear` and `dorefa` always take `nearest`.
        weight_bits: width of the integer weights; by default 16, and with objective `time` what
            each layer can afford.
        metric: the user's loss, or the name of a ready one (`evaluate.metrics`).
        task_loss: its gradient at the outputs, for criticality (see `criticality.TaskLoss`).
        labels: one per frame of the clip, before selection; of several clips a list for each.
        stress: also keep the budget on segments in which more happens (see `stress`).
        compare: further methods whose trade-offs are measured, for reports.
        frames, skip, stride: which frames of every clip; by default 240 shared among all, of sound
            and other small frames 4800.
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
    """

    method: str
    criticality: str | None
    objective: str
    accelerator: str
    rule: RuleChoice
    weight_bits: WeightBits | None
    metric: AnyMetric | str | None
    task_loss: Any
    labels: Sequence[Any] | None
    stress: bool
    compare: Sequence[str]
    frames: int | None
    skip: int
    stride: int
    on_error: OnError
    input_shapes: Mapping[str, Sequence[int]] | None
    constants: Mapping[str, float] | None
    feedback: Mapping[str, str] | None
    carry_state: bool
    input: Format | Mapping[str, Any] | None
    threads: int
    track: Track


def calibrate(
    model: Any,
    source: Spec | Sequence[str | Path],
    *,
    bits: int | None = None,
    max_loss: float | None = None,
    **options: Unpack[CalibrationOptions],
) -> Plan:
    """Makes a plan for a network from a sample of its stream.

    Args:
        model: ONNX file, its bytes, a ModelProto, or a torch module.
        source: a clip as `open_source` takes it, or a list of paths of several.
        bits: for every neuron; 8 if neither this nor max_loss is given.
        max_loss: the largest loss (95th percentile, see `evaluate.agreement`, or of `metric`) on
            frames that chose nothing and on stress segments; the cheapest plan that keeps it.
        options: see `CalibrationOptions`.

    Returns:
        The plan. `calibrate_fully` returns what was measured beside it.

    Raises:
        BudgetError: nothing keeps max_loss.
        ModelError, SourceError: the model or a clip cannot be used.
    """
    result = calibrate_fully(model, source, bits=bits, max_loss=max_loss, **options)
    if not result.reached:
        raise BudgetError(result)
    return result.plan


def calibrate_fully(
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
) -> CalibrationResult:
    """As `calibrate`, with everything that was measured; a budget out of reach does not raise.

    Arguments as `calibrate`.
    """
    if bits is not None and max_loss is not None:
        raise MquansError("bits and max_loss exclude each other.", hint="Give one of the two.")
    if bits is not None and not 1 <= bits <= GRID_BITS:
        raise MquansError(f"bits must be from 1 to {GRID_BITS}, not {bits}.")
    if max_loss is not None and not max_loss > 0:
        raise MquansError(f"the largest loss must be greater than 0, not {max_loss:g}.")
    if labels is not None and on_error == "skip":
        raise MquansError(
            "labels are by the number of a frame, which is lost where files are left out.",
            hint="Remove the files that cannot be read, and their labels, instead.",
        )
    selected = Selected(
        frames, skip, stride, input_shapes, input, labels, threads, track,
        constants, feedback, carry_state, on_error,
    )  # fmt: skip
    loaded = load_metric(metric) if isinstance(metric, str) else metric
    if max_loss is not None:
        goal = Goal(
            method,
            criticality or "fisher",
            objective,
            accelerator,
            rule,
            weight_bits,
            loaded,
            task_loss,
            stress,
            tuple(compare),
        )
        opened = open_clips(model, source, selected)
        if over_sites(opened.graph):
            return site_plan_within(max_loss, goal, opened, criticality)
        return plans_of((max_loss,), goal, opened)[0]
    if rule == "either":
        raise MquansError(
            "the rule can only be chosen under a budget.", hint="Give max_loss, or one rule."
        )
    chosen = bits or DEFAULT_BITS
    found, _ = sweep(
        open_clips(model, source, selected), (chosen,), rule, weight_bits or 16, loaded
    )
    return CalibrationResult(
        plan=found.plans[chosen],
        method="uniform",
        bits=chosen,
        budget=None,
        reached=True,
        measured=found.measured[chosen],
        held_out_frames=found.held_out_frames,
        frozen_loss=found.frozen_loss,
        uniform=found.measured,
    )


def sweep(
    opened: Opened,
    candidates: Sequence[int],
    rule: Rule,
    weight_bits: WeightBits = 16,
    metric: AnyMetric | None = None,
) -> tuple[Sweep, Workspace]:
    """Measures several uniform bit widths on the last `HELD_OUT` of every clip, of which nothing
    else was taken; other arguments as `calibrate_fully`."""
    plan_of: Callable[[int], Plan]
    if over_sites(opened.graph):
        sites = observe_sites(opened, rule, weight_bits, late=HELD_OUT, least=LEAST_FRAMES)
        space, plan_of = sites.space, sites.uniform
    else:
        space = observe(opened, late=HELD_OUT, least=LEAST_FRAMES, rules=())

        def plan_of(bits: int) -> Plan:
            layers = uniform_layers(
                space.graph, space.seen.ranges, bits=bits, weight_bits=weight_bits
            )
            return space.plan(layers, rule)

    selected = opened.selected
    bench = space.bench(metric, threads=selected.threads)
    segments = space.late()
    plans, measured = {}, {}
    for bits in selected.track(candidates, "measuring", len(candidates)):
        plans[bits] = plan_of(bits)
        measured[bits] = bench.measure(plans[bits], segments)
    held_out = sum(len(segment.frames) for segment in segments)
    return Sweep(plans, measured, bench.frozen_loss(segments), held_out), space
