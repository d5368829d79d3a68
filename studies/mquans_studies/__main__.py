"""`python -m mquans_studies`: the studies' own commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mquans_studies.command_line import run_command

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Studies of computation reuse: the literature's networks, on models of accelerators.",
)


@app.callback()
def studies() -> None:
    """Studies of computation reuse."""


@app.command()
def evaluate(
    data: Annotated[Path, typer.Option(help="Folder with driving/, speech/ and video/.")],
    zoo: Annotated[Path, typer.Option(help="Trained networks; missing ones are trained.")] = Path(
        "zoo"
    ),
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Record, tables, chart and plans, by this name.")
    ] = Path("evaluation"),
    rules: Annotated[
        Path | None, typer.Option(help="Rules of the contest; by default this package's.")
    ] = None,
    networks: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="By default all of the rules.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="For training.")] = 1,
) -> None:
    """Mquans against its rivals, from training to tables. Goes on where it was ended."""
    from mquans_studies.contest.evaluating import evaluate as run

    names = networks.split(",") if networks else []
    run(
        data, zoo, output,
        rules_file=rules, networks=names, threads=threads, say=lambda text: typer.echo(text),
    )  # fmt: skip
    typer.echo(output.with_suffix(".md").read_text())


def main() -> None:
    """Runs a command."""
    run_command(app)


if __name__ == "__main__":
    main()
