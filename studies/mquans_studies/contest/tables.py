"""The record of a contest as Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mquans_studies.contest.judging import BEFORE, HINDSIGHT

Record = dict[str, Any]
CHOICES = {BEFORE: "chosen on other data", HINDSIGHT: "chosen by what judges"}


def as_markdown(record: Record) -> str:
    """Tables: tests, schemes by network on the design that chooses, pairs on all designs, every
    scheme on every design."""
    networks: dict[str, Record] = record["networks"]
    lines = [
        "# The contest",
        "",
        f"Rules: SHA-256 {record['rules_sha256']}. Intervals: {100 * record['level']:g} %, "
        f"{record['draws']} draws of blocks.",
        "",
        *_tests(networks),
    ]
    for choice, title in CHOICES.items():
        lines += ["", f"## On `{record['chosen_on']}`, {title}", ""]
        lines += _schemes(networks, record["chosen_on"], choice)
    for choice, title in CHOICES.items():
        lines += ["", f"## Mquans over one width, {title}", ""]
        lines += _pairs(networks, record["designs"], choice)
    for name, found in networks.items():
        lines += ["", f"## {name} on every design, {CHOICES[BEFORE]}", ""]
        lines += _designs(found, record["designs"])
    for name, found in networks.items():
        lines += ["", f"## {name}: all candidates", "", *_candidates(found)]
    return "\n".join((*lines, ""))


def _tests(networks: dict[str, Record]) -> list[str]:
    rows = [
        (
            name,
            found["task"],
            f"{found['judged']['frames']} in {found['judged']['blocks']}",
            _number(found["dense_error"], 4),
            f"{found['allowed_error']:.4f}",
            f"{found['frozen_error']:.4f}",
        )
        for name, found in networks.items()
    ]
    heads = ("network", "error", "frames, in blocks", "dense", "allowed", "frozen network")
    return _table(heads, rows)


def _schemes(networks: dict[str, Record], design: str, choice: str) -> list[str]:
    rows = [
        (
            name,
            row["scheme"],
            _number(row["error"], 4) + (" (loses)" if _loses(row, found) else ""),
            f"{100 * row['loses']:.0f} %",
            _number(row["speed"], 2, "x"),
            _percent(row["energy_saved"]),
        )
        for name, found in networks.items()
        for row in found["rows"]
        if row["choice"] == choice and row["design"] == design and not row["fallback"]
    ]
    return _table(("network", "scheme", "error", "loses in", "speed", "energy saved"), rows)


def _pairs(networks: dict[str, Record], designs: list[str], choice: str) -> list[str]:
    rows = []
    for name, found in networks.items():
        for pair in dict.fromkeys(row["pair"] for row in found["pairs"]):
            for falls_back in (False, True):
                cells = {
                    row[
                        "design"
                    ]: f"{_number(row['speed'], 2, 'x')}; {_number(row['energy'], 2, 'x')}"
                    for row in found["pairs"]
                    if (row["pair"], row["choice"], row["fallback"]) == (pair, choice, falls_back)
                }
                if cells:
                    label = f"{pair}, fallback" if falls_back else pair
                    rows.append((name, label, *(cells[design] for design in designs)))
    return _table(("network", "pair (speed; energy)", *designs), rows)


def _designs(found: Record, designs: list[str]) -> list[str]:
    cells: dict[str, dict[str, str]] = {}
    for row in found["rows"]:
        if row["choice"] == BEFORE:
            label = f"{row['scheme']}, fallback" if row["fallback"] else row["scheme"]
            speed, saved = row["speed"]["value"], row["energy_saved"]["value"]
            cells.setdefault(label, {})[row["design"]] = f"{speed:.2f}x, {100 * saved:.0f} %"
    rows = [(label, *(row[design] for design in designs)) for label, row in cells.items()]
    return _table(("scheme", *designs), rows)


def _candidates(found: Record) -> list[str]:
    rows = [
        (
            one["scheme"],
            f"{one['value']:g}",
            f"{one['error_choosing']:.4f}" + (" (loses)" if one["loses_choosing"] else ""),
            _number(one["error"], 4) + (" (loses)" if one["loses"] else ""),
            "" if one["similarity"] is None else f"{100 * one['similarity']:.1f} %",
            f"{100 * one['computation_reuse']:.1f} %",
        )
        for one in found["candidates"]
    ]
    heads = ("scheme", "value", "error, choosing", "error, judging", "similarity", "reuse")
    return _table(heads, rows)


def _loses(row: Record, found: Record) -> bool:
    return bool(row["error"]["value"] > found["allowed_error"])


def _number(interval: Record, digits: int, unit: str = "") -> str:
    """`value (low to high)`."""
    value, low, high = (interval[end] for end in ("value", "low", "high"))
    text = f"{value:.{digits}f}{unit}"
    return text if low is None else f"{text} ({low:.{digits}f} to {high:.{digits}f})"


def _percent(interval: Record) -> str:
    scaled = {end: None if part is None else 100 * part for end, part in interval.items()}
    return f"{_number(scaled, 1)} %"


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    heads = list(heads)
    return [
        f"| {' | '.join(heads)} |",
        "|" + "---|" * len(heads),
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
