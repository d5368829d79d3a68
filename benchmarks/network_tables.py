"""The table of `networks.py`, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from speech_tables import table

Row = Mapping[str, Any]

HEAD = [
    "network", "from", "input", "MACs", "imports", "reuse", "on onnxruntime", "error", "yardstick",
    "exact",
]  # fmt: skip
FLOOR = 5e-4
"""Of the error of networks in floats."""


def markdown(rows: Mapping[str, Row]) -> str:
    """One line per network, and what all of them come to."""
    known = {name: row for name, row in rows.items() if "missing" not in row}
    timed = any("speedup" in row for row in known.values())
    lines = [_line(name, row) for name, row in known.items()]
    if timed:
        for line, row in zip(lines, known.values(), strict=True):
            line.append(f"{row['speedup']:.2f}x" if "speedup" in row else "")
    return table([*HEAD, "speed"] if timed else HEAD, lines) + "\n\n" + _together(known) + "\n"


def _line(name: str, row: Row) -> list[str]:
    if said := row.get("refused") or row.get("failed"):
        return [name, row["origin"], "", "", said.replace("|", "\\|"), *[""] * 5]
    shapes = ", ".join("x".join(map(str, shape)) for shape in row["inputs"].values())
    left = dict.fromkeys(op for part in row["fallbacks"] for op in part["ops"])
    return [
        name, row["origin"], shapes, _macs(row["macs"]), "yes", f"{row['reuse']:.1%}",
        ", ".join(left), _error(row["error"]), _error(row["yardstick"]), row["exact"],
    ]  # fmt: skip


def _macs(count: int) -> str:
    return f"{count / 1e6:,.0f} M" if count >= 1e7 else f"{count / 1e6:.2f} M"


def _error(value: float | None) -> str:
    return "" if value is None else f"{value:.0e}"


def _together(rows: Mapping[str, Row]) -> str:
    measured = [row for row in rows.values() if "error" in row]
    exact = sum(row["exact"] == "yes" for row in measured)
    floats = [row for row in measured if not row["int8"]]
    good = sum(row["error"] <= FLOOR for row in floats)
    text = (
        f"{len(rows)} networks: {len(measured)} import and run, {exact} of them exact. Of "
        f"{len(floats)} in floats {good} have an error of at most {FLOOR:.0e}."
    )
    speedups = [row["speedup"] for row in measured if "speedup" in row]
    if speedups:
        mean, least = np.exp(np.mean(np.log(speedups))), min(speedups)
        text += f" Speed: {mean:.2f}x in the geometric mean, {least:.2f}x at least."
    return text
