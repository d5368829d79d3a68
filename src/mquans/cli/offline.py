"""Commands that look at a network and a sample of its stream: `inspect`, `calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mquans.cli import options as o
from mquans.cli import sound_options as s
from mquans.cli.app import OUT_OF_REACH, app
from mquans.cli.terminal import show_json, track
from mquans.errors import MquansError


@app.command()
def inspect(
    model: o.Model,
    source: o.OptionalSource = None,
    input_shape: o.InputShapes = None,
    frames: o.Frames = None,
    skip: o.Skip = 0,
    stride: o.Stride = 1,
    rule: Annotated[o.RuleName, typer.Option(help="Reuse rule.")] = o.RuleName.hold,
    preset: o.Preset = None,
    size: o.Size = None,
    resize: o.Resize = None,
    anchor: o.Anchor = None,
    color: o.Color = None,
    layout: o.Layout = None,
    scale: o.Scale = None,
    mean: o.Mean = None,
    std: o.Std = None,
    front_end: s.FrontEnd = None,
    features: s.Features = None,
    rate: s.Rate = None,
    window: s.Window = None,
    hop: s.Hop = None,
    bins: s.Bins = None,
    context: s.Context = None,
    subsample: s.Subsample = None,
    sound: s.Sound = None,
    constant: s.Constants = None,
    state: s.States = None,
    carry_state: s.CarryState = False,
    threads: o.Threads = 1,
    json: o.Json = False,
) -> None:
    """How the network's nodes run; with a clip, whether reuse is worth it on it."""
    import mquans
    from mquans.cli import tables

    inspection = mquans.inspect(
        model,
        source,
        input_shapes=o.parse_shapes(input_shape),
        input={
            **o.preparation(size, resize, anchor, color, layout, scale, mean, std, preset),
            **s.sound_fields(
                front_end, features, rate, window, hop, bins, context, subsample, sound
            ),
        },
        constants=s.constants(constant),
        feedback=s.states(state),
        carry_state=carry_state,
        frames=frames,
        skip=skip,
        stride=stride,
        rule=rule.value,
        threads=threads,
        track=track,
    )
    if json:
        show_json(inspection.as_dict())
    else:
        tables.show_inspection(inspection)


@app.command()
def calibrate(
    model: o.Model,
    source: o.Sources,
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the plan goes.")],
    max_loss: Annotated[
        float | None,
        typer.Option(help="Budget: the cheapest plan that loses no more on held-out frames."),
    ] = None,
    bits: Annotated[
        int | None, typer.Option(min=1, max=12, help="Bits of every neuron (default 8).")
    ] = None,
    method: Annotated[
        o.MethodName, typer.Option(help="How precision is chosen.", rich_help_panel=o.BUDGET)
    ] = o.MethodName.criticality,
    criticality: Annotated[
        o.CriticalityName | None,
        typer.Option(
            help="How neurons are weighed: by default by 1 / standard deviation in networks with "
            "layers over sites, fisher in others.",
            rich_help_panel=o.BUDGET,
        ),
    ] = None,
    objective: Annotated[
        o.ObjectiveName, typer.Option(help="What is saved.", rich_help_panel=o.BUDGET)
    ] = o.ObjectiveName.macs,
    accelerator: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE",
            help="Of --objective energy, see simulate.",
            rich_help_panel=o.BUDGET,
        ),
    ] = "reuse",
    metric: o.Metric = None,
    labels: o.Labels = None,
    stress: Annotated[
        bool,
        typer.Option(
            help="Also keep the budget on a slow pan, a brightness ramp and cuts.",
            rich_help_panel=o.BUDGET,
        ),
    ] = True,
    motion_gate: Annotated[
        bool,
        typer.Option(
            "--motion-gate",
            help="Also leave out frames of pictures in which little moves everywhere.",
            rich_help_panel=o.BUDGET,
        ),
    ] = False,
    compare: Annotated[
        str | None,
        typer.Option(
            metavar="METHOD,...",
            help="Measure other methods beside: a list, or all.",
            rich_help_panel=o.BUDGET,
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Also write a page with charts (extra report)."),
    ] = None,
    best: Annotated[
        bool,
        typer.Option(
            "--best",
            help="Out of reach of the budget, write the best plan.",
            rich_help_panel=o.BUDGET,
        ),
    ] = False,
    rule: Annotated[
        o.RuleChoice,
        typer.Option(help="Reuse rule; under a budget, either: the one that leaves less to do."),
    ] = o.RuleChoice.hold,
    weight_bits: Annotated[
        o.WeightBits | None,
        typer.Option(help="Width of the weights (default: 16, or as deployed)."),
    ] = None,
    input_shape: o.InputShapes = None,
    frames: o.Frames = None,
    skip: o.Skip = 0,
    stride: o.Stride = 1,
    on_error: o.OnErrorOption = o.OnErrorName.stop,
    preset: o.Preset = None,
    size: o.Size = None,
    resize: o.Resize = None,
    anchor: o.Anchor = None,
    color: o.Color = None,
    layout: o.Layout = None,
    scale: o.Scale = None,
    mean: o.Mean = None,
    std: o.Std = None,
    front_end: s.FrontEnd = None,
    features: s.Features = None,
    rate: s.Rate = None,
    window: s.Window = None,
    hop: s.Hop = None,
    bins: s.Bins = None,
    context: s.Context = None,
    subsample: s.Subsample = None,
    sound: s.Sound = None,
    constant: s.Constants = None,
    state: s.States = None,
    carry_state: s.CarryState = False,
    layers: Annotated[bool, typer.Option("--layers", help="Also show every layer.")] = False,
    threads: o.Threads = 1,
    json: o.Json = False,
) -> None:
    """Make a plan for a network from a sample of its stream."""
    from mquans.calibration import BudgetError, CalibrationOptions, calibrate_fully
    from mquans.cli import tables
    from mquans.cli.terminal import complain
    from mquans.files import require_writable
    from mquans.metrics import load_metric
    from mquans.sources import require_again

    if best and max_loss is None:
        raise MquansError("--best is for a budget.", hint="Give --max-loss, or leave it away.")
    if report is not None:
        require_again(source[0], "--report")
    require_writable(output, report, read=[model, *source, *o.label_files(labels)])
    options = CalibrationOptions(
        method=method.value,
        criticality=criticality and criticality.value,
        objective=objective.value,
        accelerator=accelerator,
        rule=rule.value,
        weight_bits=o.width(weight_bits),
        metric=None if metric is None else load_metric(metric),
        labels=o.read_labels(labels, len(source)),
        stress=stress,
        motion_gate=motion_gate,
        compare=o.methods(compare),
        input_shapes=o.parse_shapes(input_shape),
        input={
            **o.preparation(size, resize, anchor, color, layout, scale, mean, std, preset),
            **s.sound_fields(
                front_end, features, rate, window, hop, bins, context, subsample, sound
            ),
        },
        constants=s.constants(constant),
        feedback=s.states(state),
        carry_state=carry_state,
        frames=frames,
        skip=skip,
        stride=stride,
        on_error=on_error.value,
        threads=threads,
        track=track,
    )
    result = calibrate_fully(model, source, options, bits=bits, max_loss=max_loss)
    written = result.reached or best
    if written:
        result.plan.save(output)
    if report is not None:
        from mquans.report import report_calibration

        report_calibration(
            result,
            model,
            source[0],
            report,
            skip=skip,
            stride=stride,
            on_error=on_error.value,
            threads=threads,
        )
    if json:
        show_json(result.as_dict())
    else:
        tables.show_calibration(result, output if written else None, layers=layers)
    if not written:
        complain(str(BudgetError(result)))
        raise typer.Exit(OUT_OF_REACH)
