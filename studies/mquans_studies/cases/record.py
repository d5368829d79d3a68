"""The record of a benchmark: one JSON file that grows, piece by piece, and keeps what it had.

machine    what `mquans doctor --json` says
plans      by `network/clip` and kind, `uniform`, `criticality` or `motion-gate`: `bits` or
           `tolerance`, `motion_gate` and `motion_tolerance`; `calibration_seconds`; on the
           measured frames `keeps_rule`, `int8_rel_sq_p95` (the rule's limit), `macs_fraction`,
           losses as in `cells`
cells      by `network/clip/threads`:
             engines      by name: `time_ms` {median, p95, mean, first, cut (median of scene cuts)},
                          `description`; but for fp32 `rel_sq_mean`, `rel_sq_p95`, `unexplained`,
                          `loss_mean`, `loss_p95` (`metrics.agreement`), `f1` and `objects` of
                          detectors. Of plans also `keeps_rule`, `macs_fraction` (MACs done, first
                          frame left out, over those of the dense network), `macs_per_frame`,
                          `state_bytes` of a stream, `activation_bytes` (float32), `state_ratio` of
                          the two, `weights_bytes`; of the motion gate `computed_frames`
             speedup      by ours, by other engine: ratio of medians, of the motion gate of means
             unavailable  engines that could not run, and why
             frames, calibration_frames, moving_frames (share in which something moves)
startup    session start, first frame and memory, by network and engine
streams    many streams at once, by network
floors     the cases that the engine is held against; `met` is null until a case was measured whole

Our engines are `mquans` (uniform), `mquans-criticality`, `mquans-dense` (everything computed in
every frame) and, in cells of several threads, `mquans-1-thread` (uniform). Every entry says when it
was `measured`, and at which `commit`.
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
    try:
        name = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],
            capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no", "--", "src", "native"],
            capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f"{name}+" if changed else name
