"""`python -m mquans_studies.zoo`: train the literature's networks on data of your own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, TypeVar

import rich.progress
import typer

from mquans.files import atomic_write
from mquans_studies.command_line import run_command

T = TypeVar("T")

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="The networks of the computation reuse literature: definitions, data and training.",
)
Name = Annotated[str, typer.Argument(help="A network; `list` names them.")]
Seed = Annotated[int, typer.Option(help="Of weights, batches and held-out strings.")]


@app.command("list")
def list_networks() -> None:
    """What can be trained, and what its data folder must hold."""
    from mquans_studies.zoo.recipes import RECIPES

    for name, recipe in RECIPES.items():
        typer.echo(f"{name}: {recipe.summary}. Data: {recipe.folder}.")


@app.command()
def train(
    name: Name,
    data: Annotated[Path, typer.Option(help="Folder of the data.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write to.")],
    steps: Annotated[int | None, typer.Option(min=1, help="Fewer or more than usual.")] = None,
    held_out: Annotated[
        list[str] | None,
        typer.Option(
            help="Speaker to test on; may be repeated. 'takes': all speakers are trained on, and "
            "other recordings of them test."
        ),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="For torch.")] = 1,
    seed: Seed = 0,
) -> None:
    """Train a network; write model.onnx, card.json, and data to make plans from and to judge."""
    import torch

    from mquans_studies.zoo.recipes import HELD_OUT, make_task
    from mquans_studies.zoo.training import train as run

    torch.set_num_threads(threads)
    task = make_task(name, data, seed=seed, held_out=held_out or HELD_OUT)
    card = run(name, task, output, steps=steps, seed=seed, track=_track)
    figures = ", ".join(f"{key} {value:.4g}" for key, value in card.accuracy.items())
    typer.echo(
        f"{name}: {figures} on held-out data; {card.macs:,} MACs, {card.weights:,} weights, "
        f"trained in {card.seconds:.0f} s."
    )


@app.command()
def untrained(
    name: Name,
    output: Annotated[Path, typer.Option("-o", "--output", help="ONNX file to write.")],
    seed: Seed = 0,
) -> None:
    """Write a network of the published dimensions with random weights: for work, not accuracy."""
    from mquans_studies.zoo.recipes import untrained as build

    atomic_write(output, build(name, seed=seed))


def _track(items: Iterable[T], label: str, total: int | None) -> Iterator[T]:
    console = rich.console.Console(stderr=True)
    with rich.progress.Progress(console=console, disable=not console.is_terminal) as progress:
        yield from progress.track(items, total=total, description=label)


def main() -> None:
    """Runs a command."""
    run_command(app)


if __name__ == "__main__":
    main()
