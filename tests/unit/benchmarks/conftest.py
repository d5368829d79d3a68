"""The modules beside `benchmarks/engines.py` are found as that script finds them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[3] / "benchmarks"


@pytest.fixture(autouse=True)
def on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)


def engine(median: float, **more: Any) -> dict[str, Any]:
    """One row of a cell."""
    times = {"median": median, "p95": median, "mean": median, "first": median}
    found = {"rel_sq_mean": 0.001, "rel_sq_p95": 0.002, "unexplained": 0.1, "loss_p95": 0.01}
    return {"time_ms": times, "description": "an engine", "f1": 1.0, "objects": 9, **found, **more}


def cell(network: str, clip: str, threads: int, ours: float, **dense: float) -> dict[str, Any]:
    """A cell as `cells.measure` returns it; engines by name with `_` for `-`."""
    mine = engine(ours, macs_fraction=0.1, state_ratio=0.9, keeps_rule=True)
    rows = {"mquans": mine}
    rows |= {name.replace("_", "-"): engine(median) for name, median in dense.items()}
    speedup = {name: row["time_ms"]["median"] / ours for name, row in rows.items()}
    return {
        "network": network,
        "clip": clip,
        "threads": threads,
        "moving_frames": 0.9,
        "engines": rows,
        "unavailable": {},
        "speedup": {"mquans": {n: v for n, v in speedup.items() if n != "mquans"}},
    }


def data(*cells: dict[str, Any]) -> dict[str, Any]:
    """A record that holds some cells."""
    by_key = {f"{c['network']}/{c['clip']}/{c['threads']}": c for c in cells}
    return {"plans": {}, "cells": by_key, "startup": {}, "streams": {}}
