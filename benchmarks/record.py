"""The record of a benchmark: one JSON file that grows, piece by piece, and keeps what it had.

machine    what `mquans doctor --json` says
plans      how the plans were chosen, by `network/clip` and plan
cells      times and fidelity, by `network/clip/threads`
startup    session start, first frame and memory, by network and engine
streams    many streams at once, by network
floors     the cases that the engine is held against
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mquans.errors import MquansError
from mquans.evaluate import machine_report
from mquans.files import atomic_write

SECTIONS = ("plans", "cells", "startup", "streams")


class Record:
    """The JSON file; every addition is on disk before the next measurement starts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data: dict[str, Any] = {}
        if path.exists():
            try:
                self.data = json.loads(path.read_text())
            except ValueError as error:
                raise MquansError(
                    f"the file is not JSON: {error}.", where=str(path), hint="Name another file."
                ) from error
        for section in SECTIONS:
            self.data.setdefault(section, {})

    def __getitem__(self, section: str) -> dict[str, Any]:
        found: dict[str, Any] = self.data.setdefault(section, {})
        return found

    def put(self, section: str, key: str, value: Mapping[str, Any]) -> None:
        """Adds or replaces one entry, with when and at which commit it was measured."""
        self[section][key] = {**value, "measured": _now(), "commit": _commit()}
        self.data["machine"] = machine_report()
        self.save()

    def save(self) -> None:
        """Writes the file, whole or not at all."""
        atomic_write(self.path, (json.dumps(self.data, indent=1) + "\n").encode())

    @property
    def plans_folder(self) -> Path:
        """Where plans lie: beside the file, named after it."""
        folder = self.path.parent / f"{self.path.stem}-plans"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def plan_file(self, network: str, clip: str, kind: str) -> Path:
        """The file of one plan."""
        return self.plans_folder / f"{network}-{clip}-{kind}.plan.json"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _commit() -> str:
    """The commit that is measured, with `+` when files were changed since; empty outside git."""
    folder = Path(__file__).parent
    try:
        name = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],
            cwd=folder, capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no", "--", "../src", "../native"],
            cwd=folder, capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f"{name}+" if changed else name
