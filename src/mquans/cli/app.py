"""The application, its options before any command, and the commands that need no network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mquans.cli import options as o
from mquans.cli.group import STYLE, Commands
from mquans.cli.terminal import show_json, track

BROKEN = 2
OUT_OF_REACH = 3

app = typer.Typer(
    help="Run trained networks on streams, recomputing only what changed, bit for bit.",
    cls=Commands,
    no_args_is_help=False,
    **STYLE,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        import mquans
        from mquans.cli.terminal import write

        write(f"mquans {mquans.__version__}\n")
        raise typer.Exit(0)


@app.callback()
def options_before_commands(
    version: Annotated[
        bool,
        # Eager: before it is missed that no command follows.
        typer.Option("--version", help="Print the version.", is_eager=True, callback=_show_version),
    ] = False,
) -> None:
    """Options before any command."""


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
