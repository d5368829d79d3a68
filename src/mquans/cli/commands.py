"""One command per verb: reads its options, calls the library, shows the result."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mquans.cli import options as o
from mquans.cli.terminal import show_json, track
from mquans.errors import MquansError

BROKEN = 2
OUT_OF_REACH = 3

app = typer.Typer(
    help="Run trained networks on streams, recomputing only what changed, bit for bit.",
    no_args_is_help=False,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def version_option(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Options before any command."""
    if version:
        import mquans
        from mquans.cli.terminal import write

        write(f"mquans {mquans.__version__}\n")
        raise typer.Exit(0)


@app.command()
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the picture goes.")] = Path(
        "mquans-demo.png"
    ),
    threads: o.Threads = 1,
    json: o.Json = False,
) -> None:
    """A real face detector on a real clip, both from packages; writes one picture."""
    from mquans.cli import tables
    from mquans.demo import run_demo

    result = run_demo(output, threads=threads, track=track)
    if json:
        show_json(result.as_dict())
    else:
        tables.show_demo(result)


@app.command()
def doctor(json: o.Json = False) -> None:
    """What this machine offers: instruction sets, threads, extras, energy counters."""
    from mquans.cli import tables
    from mquans.evaluate import machine_report

    report = machine_report()
    if json:
        show_json(report)
    else:
        tables.show_machine(report)


@app.command()
def inspect(
    model: o.Model,
    source: o.OptionalSource = None,
    input_shape: o.InputShapes = None,
    frames: o.Frames = None,
    skip: o.Skip = 0,
    stride: o.Stride = 1,
    rule: Annotated[o.RuleName, typer.Option(help="Reuse rule.")] = o.RuleName.hold,
    size: o.Size = None,
    resize: o.Resize = None,
    color: o.Color = None,
    layout: o.Layout = None,
    scale: o.Scale = None,
    mean: o.Mean = None,
    std: o.Std = None,
    threads: o.Threads = 1,
    json: o.Json = False,
) -> None:
    """How the network's nodes run; with a clip, whether reuse is worth it on it."""
    from mquans.calibration import inspect_model
    from mquans.cli import tables

    inspection = inspect_model(
        model,
        source,
        input_shapes=o.parse_shapes(input_shape),
        input=o.preparation(size, resize, color, layout, scale, mean, std),
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
        o.CriticalityName,
        typer.Option(help="How neurons are weighed.", rich_help_panel=o.BUDGET),
    ] = o.CriticalityName.fisher,
    objective: Annotated[
        o.ObjectiveName, typer.Option(help="What is saved.", rich_help_panel=o.BUDGET)
    ] = o.ObjectiveName.macs,
    metric: o.Metric = None,
    labels: o.Labels = None,
    stress: Annotated[
        bool,
        typer.Option(
            help="Also keep the budget on a slow pan, a brightness ramp and cuts.",
            rich_help_panel=o.BUDGET,
        ),
    ] = True,
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
    rule: Annotated[o.RuleName, typer.Option(help="Reuse rule.")] = o.RuleName.hold,
    weight_bits: Annotated[
        o.WeightBits | None, typer.Option(help="Width of the weights (default 16).")
    ] = None,
    input_shape: o.InputShapes = None,
    frames: o.Frames = None,
    skip: o.Skip = 0,
    stride: o.Stride = 1,
    size: o.Size = None,
    resize: o.Resize = None,
    color: o.Color = None,
    layout: o.Layout = None,
    scale: o.Scale = None,
    mean: o.Mean = None,
    std: o.Std = None,
    layers: Annotated[bool, typer.Option("--layers", help="Also show every layer.")] = False,
    threads: o.Threads = 1,
    json: o.Json = False,
) -> None:
    """Make a plan for a network from a sample of its stream."""
    from mquans.calibration import BudgetError, calibrate_fully
    from mquans.cli import tables
    from mquans.cli.terminal import complain

    result = calibrate_fully(
        model,
        source,
        bits=bits,
        max_loss=max_loss,
        method=method.value,
        criticality=criticality.value,
        objective=objective.value,
        rule=rule.value,
        weight_bits=o.width(weight_bits),
        metric=metric,
        labels=o.read_labels(labels, len(source)),
        stress=stress,
        compare=o.methods(compare),
        input_shapes=o.parse_shapes(input_shape),
        input=o.preparation(size, resize, color, layout, scale, mean, std),
        frames=frames,
        skip=skip,
        stride=stride,
        threads=threads,
        track=track,
    )
    written = result.reached or best
    if written:
        result.plan.save(output)
    if report is not None:
        from mquans.report import report_calibration

        report_calibration(
            result, model, source[0], report, skip=skip, stride=stride, threads=threads
        )
    if json:
        show_json(result.as_dict())
    else:
        tables.show_calibration(result, output if written else None, layers=layers)
    if not written:
        complain(str(BudgetError(result)))
        raise typer.Exit(OUT_OF_REACH)


@app.command()
def run(
    model: o.Model,
    plan: o.PlanFile,
    source: o.SourceOption,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write all outputs to an .npz file.")
    ] = None,
    frames: o.Frames = None,
    skip: o.Skip = 0,
    stride: o.Stride = 1,
    guard: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Every N frames, compare with the dense network and act."
        ),
    ] = None,
    max_loss: Annotated[
        float | None, typer.Option(help="Budget of --guard: the largest loss of a frame.")
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|MODULE:FUNCTION", help="Loss of --guard, if not that of calibrate."
        ),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No line per frame.")] = False,
    threads: o.Threads = 1,
    json: o.Json = False,
) -> None:
    """Run the network on a stream, recomputing only what changed."""
    from contextlib import nullcontext

    from mquans import Session, open_source
    from mquans.cli import tables
    from mquans.cli.guarding import open_guard
    from mquans.evaluate import NpzWriter, run_clip, silent
    from mquans.importers import read_model

    network = read_model(model)
    session = Session(network, plan, threads=threads)
    watch = open_guard(session, network, every=guard, max_loss=max_loss, metric=metric)
    talk = not (quiet or json)
    # The file first: if it cannot be written, that is better known before a long run.
    with (
        nullcontext() if output is None else NpzWriter(output) as file,
        open_source(
            source,
            session.plan.input,
            input_shapes=session.plan.input_shapes,
            frames=frames,
            skip=skip,
            stride=stride,
        ) as clip,
    ):
        summary = run_clip(
            session,
            clip,
            guard=watch,
            on_outputs=None if file is None else file.add,
            on_frame=tables.show_frame if talk else None,
            total=clip.length,
            track=silent if talk else track,
        )
        if not summary.work.frames:
            raise MquansError("every frame was refused.", where=clip.name)
    if json:
        show_json(summary.as_dict())
    else:
        tables.show_run(summary, output)


@app.command()
def compare(
    model: o.Model,
    plan: o.PlanFile,
    source: o.SourceOption,
    engines: Annotated[
        str, typer.Option(help="Comma-separated: ort-fp32, ort-int8, openvino-fp32, ...")
    ] = "mquans,ort-fp32",
    frames: o.Frames = None,
    skip: o.Skip = 0,
    stride: o.Stride = 1,
    threads: o.Threads = 1,
    json: o.Json = False,
) -> None:
    """Work, agreement and speed beside dense engines, frame by frame in one process."""
    import mquans
    from mquans.cli import tables
    from mquans.evaluate import compare as compare_engines
    from mquans.importers import read_model

    file = read_model(model)
    session = mquans.Session(file, plan, threads=threads)
    with mquans.open_source(
        source,
        session.plan.input,
        input_shapes=session.plan.input_shapes,
        frames=frames,
        skip=skip,
        stride=stride,
    ) as clip:
        result = compare_engines(
            session,
            file,
            clip,
            engines=[name.strip() for name in engines.split(",") if name.strip()],
            total=clip.length,
            track=track,
        )
    if json:
        show_json(result.as_dict())
    else:
        tables.show_comparison(result)


@app.command()
def verify(
    model: o.Model,
    plan: o.PlanFile,
    source: o.SourceOption,
    frames: o.Frames = None,
    skip: o.Skip = 0,
    stride: o.Stride = 1,
    threads: o.Threads = 1,
    json: o.Json = False,
) -> None:
    """Prove on a clip that reuse changes nothing: exact accumulators, refresh without effect."""
    import mquans
    from mquans.cli import tables
    from mquans.evaluate import verify as verify_clip

    session = mquans.Session(model, plan, threads=threads)
    with mquans.open_source(
        source,
        session.plan.input,
        input_shapes=session.plan.input_shapes,
        frames=frames,
        skip=skip,
        stride=stride,
    ) as clip:
        result = verify_clip(session, clip, total=clip.length, track=track)
    if json:
        show_json(result.as_dict())
    else:
        tables.show_verification(result)
    if not result.exact:
        raise typer.Exit(BROKEN)
