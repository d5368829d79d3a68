"""Speech results as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Data = Mapping[str, Any]


def markdown(data: Data) -> str:
    """All tables of a record."""
    parts = (
        ("Exactness and fidelity", exactness(data.get("speech-exact", {}))),
        ("Time per step", times(data.get("speech", {}))),
        ("Ten streams in real time", real_time(data.get("real-time", {}))),
    )
    return "\n\n".join(f"## {title}\n\n{text}" for title, text in parts if text) + "\n"


def exactness(found: Data) -> str:
    rows = [
        [name, row["frames"], row["layers"], "exact" if row["exact"] else "BROKEN",
         f"{row['rel_sq_12_bits']:.1e}"]
        for name, row in found.items()
    ]  # fmt: skip
    return table(["network", "steps", "layers", "law", "rel_sq at 12 bits"], rows)


def times(found: Data) -> str:
    rows = []
    for name, row in found.items():
        engines = row["engines"]
        for engine, one in engines.items():
            speedup = one.get("speedup", {})
            rows.append(
                [
                    name,
                    engine,
                    f"{1000 * one['time_ms']['median']:.0f}",
                    f"{1000 * one['time_ms']['p95']:.0f}",
                    _ratio(speedup.get("ort-fp32")),
                    _ratio(speedup.get("ort-int8-dynamic")),
                    _number(one.get("task_loss"), "{:.4f}") + (
                        f" (limit {row['limit']:g})" if "task_loss" in one else ""
                    ),
                    _number(one.get("rel_sq_p95"), "{:.1e}"),
                    _number(one.get("macs_fraction"), "{:.0%}"),
                    _number(one.get("weight_bytes_fraction"), "{:.0%}"),
                ]
            )  # fmt: skip
    heads = [
        "network", "engine", "µs", "p95", "over fp32", "over int8", "task loss", "rel_sq p95",
        "MACs", "weight bytes",
    ]  # fmt: skip
    return table(heads, rows)


def real_time(found: Data) -> str:
    rows = [
        [engine, row["streams"], row["late"], f"{row['worst_ms']:.1f}", f"{row['cores_busy']:.2f}"]
        for engine, row in found.items()
    ]
    return table(["engine", "streams", "late hops", "worst answer, ms", "cores busy"], rows)


def table(head: list[str], rows: list[list[Any]]) -> str:
    """A Markdown table; empty without rows."""
    if not rows:
        return ""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}x"


def _number(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)
