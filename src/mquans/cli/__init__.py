"""The command line: one command per verb, and one way in and out of all of them."""

from __future__ import annotations

from mquans.cli.main import main

__all__ = ["main"]
