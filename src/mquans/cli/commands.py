"""All commands, one per verb: each reads its options, calls the library, shows the result."""

from importlib.metadata import entry_points

from mquans.cli import offline, online
from mquans.cli.app import app

__all__ = ["app", "offline", "online"]

# Commands of other packages.
for entry in sorted(entry_points(group="mquans.commands")):
    app.command(entry.name)(entry.load())
