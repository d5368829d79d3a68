"""How the studies' own commands are run."""

from __future__ import annotations

import sys

import typer

from mquans.errors import MquansError


def run_command(app: typer.Typer) -> None:
    """Runs a command; errors are one sentence on stderr and exit code 1."""
    try:
        app()
    except MquansError as error:
        typer.echo(f"mquans: {error}", err=True)
        sys.exit(1)
