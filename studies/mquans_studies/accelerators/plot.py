"""Simulated speed and energy as a chart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mquans.errors import MquansError
from mquans.files import reason
from mquans.report.page import load_charts

FORMATS = (".svg", ".png", ".pdf")


def plot_simulation(
    rows: Sequence[tuple[str, str, float, float]], path: str | Path, *, title: str = ""
) -> None:
    """Two charts side by side, speed and energy saved: a group of bars each, one per scheme.

    Args:
        rows: (group such as an accelerator or a network, scheme, speedup, energy saved).
        path: of an .svg, .png or .pdf file.

    Raises:
        DependencyError: matplotlib is not installed.
        MquansError: another kind of file, or it cannot be written.
    """
    where = _checked(path)
    charts = load_charts("mquans_studies.accelerators.bars")
    try:
        charts.save_bars(rows, where, title=title)
    except OSError as error:
        raise _unwritten(where, error) from error


def plot_sensitivity(
    base: tuple[float, float],
    swings: Sequence[tuple[str, tuple[float, float], tuple[float, float]]],
    path: str | Path,
    *,
    title: str = "",
) -> None:
    """Two tornado plots side by side, speed and energy saved.

    Args:
        base: (speedup, energy saved) around which constants swing.
        swings: (group of constants, speedups, savings), both at the least and the most.
        path: of an .svg, .png or .pdf file.

    Raises:
        DependencyError: matplotlib is not installed.
        MquansError: another kind of file, or it cannot be written.
    """
    where = _checked(path)
    charts = load_charts("mquans_studies.accelerators.tornado")
    try:
        charts.save_tornado(base, swings, where, title=title)
    except OSError as error:
        raise _unwritten(where, error) from error


def _checked(path: str | Path) -> Path:
    where = Path(path)
    if where.suffix.lower() not in FORMATS:
        raise MquansError(
            f"a plot cannot be written as {where.suffix or 'a file without ending'}.",
            where=str(where),
            hint=f"Choose one of {', '.join(FORMATS)}.",
        )
    return where


def _unwritten(where: Path, error: OSError) -> MquansError:
    return MquansError(f"cannot be written: {reason(error)}", where=str(where))
