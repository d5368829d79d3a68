"""`mquans simulate`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec.structs import replace

from mquans.cli import options as o
from mquans.cli.terminal import show_json, track

if TYPE_CHECKING:
    from mquans.runtime.stream import Frame
    from mquans.sources import Source
    from mquans_studies.accelerators import Row
    from mquans_studies.traces.trace import Trace


VALUE_BITS = 8
"""Of single values, with the rule hold, where a plan decides on whole sites."""


def simulate(
    model: o.Model,
    plan: o.PlanFile,
    source: o.SourceOption,
    accelerator: Annotated[
        str,
        typer.Option(
            metavar="NAME,...|FILE",
            help="reuse, diannao, dadiannao, eyeriss, neuflow, cpu2, all, or a YAML file.",
        ),
    ] = "reuse",
    scheme: Annotated[
        str,
        typer.Option(
            metavar="NAME,...",
            help="dense, dense-int8, reuse (the plan), sites (its gates), nearest, hold, uniform, "
            "repetition, memory, reuse+repetition, or all.",
        ),
    ] = "reuse",
    bits: Annotated[
        int, typer.Option(min=1, max=12, help="Width of the scheme uniform (Riera et al.).")
    ] = 5,
    fallback: Annotated[
        str | None,
        typer.Option(
            metavar="CLIP",
            help="Also each scheme with layers left dense where that is cheaper on this clip.",
        ),
    ] = None,
    objective: Annotated[
        str, typer.Option(metavar="energy|time", help="What --fallback chooses for.")
    ] = "energy",
    metric: o.Metric = None,
    labels: o.Labels = None,
    save_trace: Annotated[
        Path | None,
        typer.Option(metavar="FILE.npz", help="Also write the activity of the plan's run."),
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE.md", help="Also write a table.")
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE.svg", help="Also write a chart (extra report)."),
    ] = None,
    frames: o.Frames = None,
    skip: o.Skip = 0,
    stride: o.Stride = 1,
    threads: o.Threads = 1,
    json: o.Json = False,
) -> None:
    """Cycles and energy of a clip on an accelerator, from what really changes in it."""
    from mquans import Session
    from mquans.errors import MquansError
    from mquans.files import atomic_write, require_writable
    from mquans.metrics import load_metric, place_labels
    from mquans.onnx import read_model
    from mquans.sources import open_planned, require_again
    from mquans_studies.accelerators import (
        STUDIED,
        Fallback,
        accelerator_names,
        load_accelerator,
        study,
    )
    from mquans_studies.accelerators import markdown as as_markdown
    from mquans_studies.traces.trace_file import save_trace as write_trace

    if objective not in ("energy", "time"):
        raise MquansError(
            f"there is no objective {objective!r} for fallbacks.", hint="Choose energy or time."
        )
    names = accelerator_names() if accelerator == "all" else o.listed(accelerator)
    require_again(source, "simulate")
    require_writable(markdown, plot, save_trace, read=[model, plan, source, *o.label_files(labels)])
    designs = {Path(name).stem: load_accelerator(name) for name in names}
    network = read_model(model)
    session = Session(network, plan, threads=threads)
    gated = session if session.plan.tensors else None
    schemes = list(o.listed(scheme))
    if scheme == "all":
        schemes = [name for name in STUDIED if gated is not None or name != "sites"]

    def open_clip(name: str = source) -> Source:
        return open_planned(session.plan, name, frames=frames, skip=skip, stride=stride)

    def opened(name: str = source) -> Iterator[Frame]:
        with open_clip(name) as clip:
            yield from clip

    def keep(name: str, trace: Trace) -> None:
        if save_trace is not None and name == "reuse":
            write_trace(trace, save_trace)

    given = o.read_labels(labels, 1)
    if given is not None:
        with open_clip() as clip:
            given = place_labels(given, clip)
    from mquans_studies.one_width import one_width

    if session.plan.tensors:
        # Accelerators compare single values: the plan's gates for whole sites say nothing of them.
        values = one_width(session, opened(), bits=VALUE_BITS, quantizer="uniform", track=track)
        session = session.with_plan(replace(values, rule="hold"))
    chosen = None
    if fallback is not None:
        chosen = Fallback(partial(opened, fallback), "time" if objective == "time" else "energy")
    uniform = None
    if "uniform" in schemes:
        uniform = one_width(session, opened(), bits=bits, track=track)
    rows = study(
        session,
        network,
        opened,
        schemes,
        designs,
        uniform=uniform,
        sites=gated,
        metric=None if metric is None else load_metric(metric),
        labels=given,
        fallback=chosen,
        on_trace=keep,
        track=track,
    )
    title = f"{network.name} on {Path(source).name}"
    if markdown is not None:
        atomic_write(markdown, as_markdown(rows, title=title).encode())
    if plot is not None:
        from mquans_studies.accelerators.plot import plot_simulation

        bars = [
            (row.accelerator, row.label, row.simulation.speedup, row.simulation.energy_saved)
            for row in rows
        ]
        plot_simulation(bars, plot, title=title)
    if json:
        first, *others = (row.as_dict() for row in rows)
        show_json({**first, "others": others})
    else:
        show_simulation(rows)


def show_simulation(rows: Sequence[Row]) -> None:
    """One line per accelerator and scheme."""
    from mquans.cli.tables import percent, table
    from mquans.cli.terminal import show

    made = table(
        "accelerator", "scheme", "similarity", "reuse", "loss (p95)", "cycles", "speed", "energy",
        "saved",
    )  # fmt: skip
    for row in rows:
        found = row.as_dict()
        agreement = found["agreement"]
        made.add_row(
            row.accelerator,
            row.label,
            percent(found["similarity"]),
            percent(found["computation_reuse"]),
            "" if agreement is None else f"{agreement['loss_p95']:.4f}",
            f"{found['cycles']:.0f}",
            f"{found['speedup']:.2f}x",
            f"{found['energy_pj'] / 1e6:.2f} uJ",
            percent(found["energy_saved"]),
        )
    frames = rows[0].simulation.frames
    show(made, "", f"Simulated, means of {frames} frames; speed and savings are against dense.")
