"""Commands that run a network under its plan: `run`, `compare`, `verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mquans.cli import options as o
from mquans.cli.app import BROKEN, app
from mquans.cli.terminal import complain, show_json, track
from mquans.errors import MquansError, NothingToVerifyError


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
    on_error: o.OnErrorOption = o.OnErrorName.stop,
    reconnect: Annotated[
        bool,
        typer.Option(
            help="Open a camera again that breaks off, ends or falls silent.",
            rich_help_panel=o.SELECTION,
        ),
    ] = True,
    pcm: Annotated[
        str | None,
        typer.Option(
            metavar="ENCODING:RATE[:CHANNELS]",
            help="What comes is raw samples, such as s16le:16000:1 (standard input, pipe, file).",
            rich_help_panel=o.SELECTION,
        ),
    ] = None,
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

    from mquans import Session
    from mquans.cli import tables
    from mquans.cli.ending import EndedBySignals
    from mquans.cli.guarding import open_guard
    from mquans.evaluate import NpzWriter, run_clip, silent
    from mquans.files import require_writable
    from mquans.onnx import read_model
    from mquans.runtime.replay import Outputs
    from mquans.sources import open_planned

    require_writable(output, read=[model, plan, source])
    network = read_model(model)
    session = Session(network, plan, threads=threads)
    watch = open_guard(session, network, every=guard, max_loss=max_loss, metric=metric)
    talk = not (quiet or json)
    # The file first: if it cannot be written, that is better known before a long run.
    with (
        nullcontext() if output is None else NpzWriter(output) as file,
        open_planned(
            session.plan,
            source,
            frames=frames,
            skip=skip,
            stride=stride,
            on_error=on_error.value,
            reconnect=reconnect,
            pcm=pcm,
            # A guard also runs the dense network, which takes floats.
            pixels=watch is None,
        ) as clip,
        EndedBySignals(clip) as ended,
    ):
        if file is not None:
            file.keep = clip.live

        def write(outputs: Outputs) -> None:
            if file is not None:
                file.add(outputs, clip.time_s)

        summary = run_clip(
            session,
            clip,
            guard=watch,
            on_outputs=write,
            on_frame=tables.show_frame if talk else None,
            total=clip.length,
            track=silent if talk else track,
        )
        summary.skipped = clip.skipped
        if not summary.work.frames:
            raise MquansError("every frame was refused.", where=clip.name)
    if json:
        show_json(summary.as_dict())
    else:
        tables.show_run(summary, output)
    raise typer.Exit(ended.code)


@app.command()
def compare(
    model: o.Model,
    plan: o.PlanFile,
    source: o.SourceOption,
    engines: Annotated[
        str, typer.Option(help="Comma-separated: ort-fp32, ort-int8, openvino-fp32, ...")
    ] = "mquans,ort-fp32",
    energy: Annotated[
        bool,
        typer.Option("--energy", help="Also measure energy per frame, where there are counters."),
    ] = False,
    frames: o.Frames = None,
    skip: o.Skip = 0,
    stride: o.Stride = 1,
    on_error: o.OnErrorOption = o.OnErrorName.stop,
    threads: o.Threads = 1,
    json: o.Json = False,
) -> None:
    """Work, agreement and speed beside dense engines, frame by frame in one process."""
    import mquans
    from mquans.cli import tables
    from mquans.evaluate import frame_energy
    from mquans.onnx import read_model
    from mquans.sources import open_planned, require_again

    if energy:
        require_again(source, "--energy")
    file, names = read_model(model), o.listed(engines)
    result = mquans.compare(
        file,
        plan,
        source,
        engines=names,
        frames=frames,
        skip=skip,
        stride=stride,
        on_error=on_error.value,
        threads=threads,
        track=track,
    )
    values, spent = result.as_dict(), None
    if energy:
        session = mquans.Session(file, plan, threads=threads)
        with open_planned(
            session.plan,
            source,
            frames=frames,
            skip=skip,
            stride=stride,
            on_error=on_error.value,
        ) as clip:
            spent = frame_energy(session, file, clip, names)
        values["energy_j"] = spent
    if json:
        show_json(values)
    else:
        tables.show_comparison(result)
        if spent is not None:
            tables.show_energy(spent)


@app.command()
def verify(
    model: o.Model,
    plan: o.PlanFile,
    source: o.SourceOption,
    frames: o.Frames = None,
    skip: o.Skip = 0,
    stride: o.Stride = 1,
    on_error: o.OnErrorOption = o.OnErrorName.stop,
    threads: o.Threads = 1,
    json: o.Json = False,
) -> None:
    """Prove on a clip that reuse changes nothing: not a bit of what is held, nor of any output."""
    import mquans
    from mquans.cli import tables

    try:
        result = mquans.verify(
            model,
            plan,
            source,
            frames=frames,
            skip=skip,
            stride=stride,
            on_error=on_error.value,
            threads=threads,
            track=track,
        )
    except NothingToVerifyError as error:
        complain(str(error))
        raise typer.Exit(BROKEN) from None
    if json:
        show_json(result.as_dict())
    else:
        tables.show_verification(result)
    if not result.exact:
        raise typer.Exit(BROKEN)
