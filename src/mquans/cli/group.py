"""Commands of this package, and those that other packages hand in."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

STYLE: dict[str, Any] = {
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "rich_markup_mode": "rich",
    "context_settings": {"help_option_names": ["-h", "--help"]},
}


class Commands(TyperGroup):
    """Looks for commands of other packages (entry points of the group `mquans.commands`) only where
    they are listed, or where one is called that is not ours: looking takes as long as loading all
    of ours."""

    _complete = False

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in self.commands:
            self._add_others()
        return super().get_command(ctx, cmd_name)

    def list_commands(self, ctx: Any) -> list[str]:
        self._add_others()
        return super().list_commands(ctx)

    def _add_others(self) -> None:
        if self._complete:
            return
        from importlib.metadata import entry_points

        for entry in sorted(entry_points(group="mquans.commands")):
            alone = typer.Typer(**STYLE)
            alone.command(entry.name, context_settings=STYLE["context_settings"])(entry.load())
            self.add_command(typer.main.get_command(alone), entry.name)
        self._complete = True
