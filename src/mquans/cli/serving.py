"""Commands for cameras that run for good: `serve` and `scale plan`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mquans.cli import options as o
from mquans.cli.app import app
from mquans.cli.group import STYLE
from mquans.errors import MquansError

if TYPE_CHECKING:
    from mquans.serve.config import Config


@app.command()
def serve(
    cameras: Annotated[
        Path | None, typer.Argument(metavar="CAMERAS", help="The file of cameras, YAML.")
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Two clips out of packages as cameras, without a file.")
    ] = False,
    bind: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS:PORT", help="Listen here instead."),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="auto|HOST:PORT", help="Spread cameras over this Ray cluster (extra scale)."
        ),
    ] = None,
    engine: Annotated[
        o.EngineName,
        typer.Option(help="onnxruntime computes every frame whole, to compare with."),
    ] = o.EngineName.mquans,
) -> None:
    """Run many cameras, with a live page, an HTTP interface and events."""
    from mquans.serve.dependencies import require_packages

    if (cameras is None) != demo:
        raise MquansError(
            "serve takes either a file of cameras or --demo.",
            hint="See the guide to serving for what is in the file.",
        )
    require_packages()
    from mquans.serve.config_file import read_config
    from mquans.serve.server import serve as run

    if cameras is None:
        from mquans.serve.demonstration import demonstration

        with demonstration() as config:
            run(config.bound(bind).scaled(address), engine=engine.value)
        return
    file = cameras

    def read() -> Config:
        return read_config(file).bound(bind).scaled(address)

    run(read(), engine=engine.value, read=read)


scale = typer.Typer(help="Plan for many cameras.", no_args_is_help=True, **STYLE)
app.add_typer(scale, name="scale")


@scale.command("plan")
def plan_scale(
    cameras: Annotated[Path, typer.Argument(metavar="CAMERAS", help="The file of cameras, YAML.")],
    cores: Annotated[
        int | None, typer.Option(min=1, help="Cores to plan for; those of this machine.")
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=1, help="Of every camera's stream that is measured.")
    ] = 10,
    json: o.Json = False,
) -> None:
    """How many cameras fit, and what they would cost dense, from a short measurement."""
    from mquans.cli import tables
    from mquans.cli.terminal import show_json
    from mquans.serve.capacity import plan_capacity
    from mquans.serve.config import ConfigError
    from mquans.serve.config_file import read_config
    from mquans.serve.planning import usable_cores

    config = read_config(cameras)
    if not config.cameras:
        raise ConfigError("there are no cameras to plan for.", where=str(cameras))
    found = plan_capacity(config, cores or usable_cores(), seconds)
    if json:
        show_json(found.as_dict())
    else:
        tables.show_capacity(found)
