"""All commands, one per verb: each reads its options, calls the library, shows the result."""

from mquans.cli import offline, online, serving
from mquans.cli.app import app

__all__ = ["app", "offline", "online", "serving"]
