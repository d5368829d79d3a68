"""The tables of `criticality.py` from its record, as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mquans_studies.methods.operating_points import Point, geometric_mean, work_at
from mquans_studies.methods.variants import VARIANTS

Data = Mapping[str, Any]

FULL, FULL_BOXES = "criticality, hold", "criticality for boxes, hold"
"""The method that the others are compared with; for boxes, by what moves boxes."""

REL_SQ = (0.003, 0.01, 0.03)
LOST_F1 = (0.02, 0.05, 0.1)
STEERING = (0.01, 0.02, 0.04)
"""Losses at which work is compared: relative squared error (95th percentile), 1 - F1 of boxes, and
root mean square error of steering."""

RIERA = ("linear, nearest (Riera et al.)", "uniform, nearest")
FLOORS = (
    ("uniform `nearest` (Riera et al.), the better of two quantizers", RIERA, 1.8, 3.0),
    ("uniform `hold`", ("uniform, hold",), 1.3, 2.0),
    ("bits per layer, `hold`", ("per layer, hold",), 1.0, None),
)
ABLATION = (
    ("criticality by squared error, whatever the loss", FULL),
    ("`nearest` instead of `hold`", "criticality, nearest"),
    ("one step per layer instead of per neuron", "per layer, hold"),
    ("the same, by what moves boxes", "per layer for boxes, hold"),
    ("one number of bits for the network", "uniform, hold"),
    ("all changes cost alike", "criticality, hold, all changes cost alike"),
    ("int8 weights everywhere", "criticality, hold, int8 weights"),
    ("ApproxANN's loop instead of a multiplier of the loss", "ApproxANN loop, hold"),
    ("criticality by `taylor`", "criticality by taylor, hold"),
    ("criticality by `closed_form`", "criticality by closed_form, hold"),
    ("criticality by `perturb`", "criticality by perturb, hold"),
)


@dataclass(frozen=True, slots=True)
class Measure:
    """How a plan's loss is read from its point, and where and with what it is compared.

    Attributes:
        loss: None where the stream has none.
        limits: losses at which work is compared.
        full: the method that the others are compared with.
    """

    loss: Callable[[Data], float | None]
    limits: Sequence[float]
    full: str = FULL


MEASURES = {
    "relative squared error": Measure(lambda p: p["agreement"]["rel_sq_p95"], REL_SQ),
    "boxes": Measure(lambda p: None if p["f1"] is None else 1 - p["f1"], LOST_F1, FULL_BOXES),
    "steering": Measure(lambda p: p.get("steering_rms"), STEERING),
}


def markdown(data: Data) -> str:
    """All tables that the record has data for."""
    cells = data.get("methods", {})
    budgets = data.get("budgets", {})
    parts = []
    if cells:
        parts += [("Against the baselines", floors(cells)), ("Ablation", ablation(cells))]
        parts += [(f"MACs of changed values: {name}", methods(cells, name)) for name in MEASURES]
        parts.append(("Calibration times", times(cells)))
    if budgets:
        parts.append(("Budgets on segments never seen", kept(budgets)))
    return "\n\n".join(f"## {title}\n\n{text}" for title, text in parts if text) + "\n"


def floors(cells: Data) -> str:
    """How many times fewer MACs than each baseline, by what loss is measured in."""
    return _comparison(
        cells,
        ["fewer MACs than", "floor", "aim"],
        [
            ([title, f"{floor:g}", "" if aim is None else f"{aim:g}"], baselines)
            for title, baselines, floor, aim in FLOORS
        ],
    )


def ablation(cells: Data) -> str:
    """MACs of each variant over those of the full method, at equal loss."""
    return _comparison(cells, ["variant"], [([title], (name,)) for title, name in ABLATION])


def _comparison(
    cells: Data, head: Sequence[str], rows: Sequence[tuple[list[str], Sequence[str]]]
) -> str:
    """Rows of names and of work over that of the full method, one column per loss."""
    found = [
        [*cells_before, *(_ratio(compared(cells, names, measure)) for measure in MEASURES)]
        for cells_before, names in rows
    ]
    return _table([*head, *MEASURES], found)


def methods(cells: Data, measure: str) -> str:
    """Share of MACs done at the middle one of the compared losses, by method and cell."""
    limit, loss = MEASURES[measure].limits[1], MEASURES[measure].loss
    names = [name for name, cell in cells.items() if (loss(cell["frozen"]) or 0.0) > limit]
    rows = []
    for variant in VARIANTS:
        works = [work_at(_points(cells[name], variant.name, measure), limit) for name in names]
        if any(work is not None for work in works):
            rows.append([variant.name, *("" if w is None else f"{100 * w:.1f} %" for w in works)])
    return f"At {limit:g}:\n\n" + _table(["method", *names], rows) if names else ""


def times(cells: Data) -> str:
    """Median seconds over the cells, by stage or by variant (all its plans)."""
    stages = {name for cell in cells.values() for name in cell["seconds"]}
    rows = []
    for stage in sorted(stages):
        seconds = [cell["seconds"][stage] for cell in cells.values() if stage in cell["seconds"]]
        rows.append([stage, f"{np.median(seconds):.0f}"])
    return _table(["stage", "seconds"], rows)


def kept(budgets: Data) -> str:
    """Losses on unseen segments against the budget."""
    rows, good, total = [], 0, 0
    for name, cell in budgets.items():
        losses = cell.get("losses", [])
        good += sum(loss <= cell["budget"] for loss in losses)
        total += len(losses)
        shown = ", ".join(f"{loss:.3g}" for loss in losses) or cell.get("refused", "")
        rows.append([name, f"{cell['budget']:g}", shown, f"{cell.get('seconds', 0):.0f}"])
    table = _table(["network, scene", "budget", "losses on unseen segments", "seconds"], rows)
    return f"Kept on {good} of {total} segments.\n\n{table}"


def compared(cells: Data, baselines: Iterable[str], measure: str) -> list[float]:
    """Work of the best baseline over that of the full method, for every cell and compared loss at
    which both have a plan. Losses that outputs frozen at the first frame would keep tell nothing
    and are left out."""
    ratios = []
    full = MEASURES[measure].full
    for cell in cells.values():
        frozen = MEASURES[measure].loss(cell["frozen"])
        for limit in MEASURES[measure].limits:
            if frozen is None or frozen <= limit:
                continue
            found = [work_at(_points(cell, name, measure), limit) for name in baselines]
            least = min(filter(None, found), default=None)
            own = work_at(_points(cell, full, measure), limit)
            if least and own:
                ratios.append(least / own)
    return ratios


def _points(cell: Data, variant: str, measure: str) -> list[Point]:
    loss = MEASURES[measure].loss
    pairs = [(p["changed_fraction"], loss(p)) for p in cell["points"].get(variant, [])]
    return [Point(share, value) for share, value in pairs if value is not None]


def _ratio(ratios: Sequence[float]) -> str:
    mean = geometric_mean(ratios)
    return "" if mean is None else f"{mean:.2f}x of {len(ratios)}"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    return "\n".join([*head, *(f"| {' | '.join(row)} |" for row in rows)])
