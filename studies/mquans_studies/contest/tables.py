"""The record of a contest as Markdown."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import fmean, geometric_mean
from typing import Any

from mquans_studies.contest.judging import BEFORE, HINDSIGHT
from mquans_studies.contest.trying import PUBLISHED

Record = dict[str, Any]
CHOICES = {BEFORE: "chosen on other data", HINDSIGHT: "chosen by what judges"}


def as_markdown(record: Record) -> str:
    """Tables: tests; on the design that chooses, schemes by network and in the mean, the
    literature's width, and pairs; on every design, pairs and schemes; all candidates."""
    networks: dict[str, Record] = record["networks"]
    design = record["chosen_on"]
    lines = [
        "# The contest",
        "",
        f"Rules: SHA-256 {record['rules_sha256']}. Intervals: {100 * record['level']:g} %, "
        f"{record['draws']} draws of blocks.",
        "",
        *_tests(networks),
    ]
    for choice, title in CHOICES.items():
        lines += ["", f"## On `{design}`, {title}", "", *_schemes(networks, design, choice)]
        lines += ["", f"## Means on `{design}`, {title}", "", *_means(networks, design, choice)]
    lines += ["", f"## The literature's width on `{design}`", "", *_published(networks, design)]
    lines += ["", f"## Mquans over one width on `{design}`", "", *_pairs(networks, design)]
    lines += ["", f"## Mquans over one width on every design, {CHOICES[BEFORE]}", ""]
    lines += _pairs_by_design(networks, record["designs"])
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
            *_outcome(row),
        )
        for name, found in networks.items()
        for row in _pure(found, design, choice)
    ]
    return _table(("network", "scheme", "error", "loses in", "speed", "energy saved"), rows)


def _means(networks: dict[str, Record], design: str, choice: str) -> list[str]:
    """Schemes that all networks have; speeds in the geometric mean, as ratios ask for."""
    of = {
        name: {row["scheme"]: row for row in _pure(found, design, choice)}
        for name, found in networks.items()
    }
    rows = []
    for scheme in dict.fromkeys(scheme for found in of.values() for scheme in found):
        if any(scheme not in found for found in of.values()):
            continue
        speeds = [found[scheme]["speed"]["value"] for found in of.values()]
        saved = [100 * found[scheme]["energy_saved"]["value"] for found in of.values()]
        lost = [name for name, found in of.items() if _loses(found[scheme], networks[name])]
        mean, least = geometric_mean(speeds), f"{min(speeds):.2f}x, {min(saved):.1f} %"
        told = ", ".join(lost) or "none"
        rows.append((scheme, f"{mean:.2f}x", f"{fmean(saved):.1f} %", least, told))
    return _table(("scheme", "speed", "energy saved", "least of any network", "loses"), rows)


def _published(networks: dict[str, Record], design: str) -> list[str]:
    rows = []
    for name, found in networks.items():
        (row,) = (r for r in _pure(found, design, BEFORE) if r["scheme"] == PUBLISHED)
        (one,) = (one for one in found["candidates"] if one["scheme"] == PUBLISHED)
        alike = f"{100 * one['similarity']:.1f} %"
        rows.append((name, f"{one['value']:g}", alike, _number(row["error"], 4), *_outcome(row)))
    heads = ("network", "bits", "inputs alike", "error", "loses in", "speed", "energy saved")
    return _table(heads, rows)


def _pairs(networks: dict[str, Record], design: str) -> list[str]:
    rows = [
        (
            name,
            row["pair"],
            CHOICES[row["choice"]],
            _number(row["speed"], 2, "x"),
            _number(row["energy"], 2, "x"),
        )
        for name, found in networks.items()
        for row in found["pairs"]
        if row["design"] == design and not row["fallback"]
    ]
    return _table(("network", "pair", "chosen", "speed", "energy"), rows)


def _pairs_by_design(networks: dict[str, Record], designs: list[str]) -> list[str]:
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for name, found in networks.items():
        for row in found["pairs"]:
            if row["choice"] == BEFORE:
                told = f"{row['speed']['value']:.2f}x, {row['energy']['value']:.2f}x"
                cells.setdefault((name, _label(row, "pair")), {})[row["design"]] = told
    rows = [(*names, *(row[design] for design in designs)) for names, row in cells.items()]
    return _table(("network", "pair (speed, energy)", *designs), rows)


def _designs(found: Record, designs: list[str]) -> list[str]:
    cells: dict[str, dict[str, str]] = {}
    for row in found["rows"]:
        if row["choice"] == BEFORE:
            speed, saved = row["speed"]["value"], row["energy_saved"]["value"]
            told = f"{speed:.2f}x, {100 * saved:.0f} %"
            cells.setdefault(_label(row, "scheme"), {})[row["design"]] = told
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


def _pure(found: Record, design: str, choice: str) -> list[Record]:
    """Rows of a network without fallback."""
    return [
        row
        for row in found["rows"]
        if (row["design"], row["choice"], row["fallback"]) == (design, choice, False)
    ]


def _outcome(row: Record) -> tuple[str, str, str]:
    return (
        f"{100 * row['loses']:.0f} %",
        _number(row["speed"], 2, "x"),
        _percent(row["energy_saved"]),
    )


def _label(row: Record, what: str) -> str:
    return f"{row[what]}, fallback" if row["fallback"] else str(row[what])


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
