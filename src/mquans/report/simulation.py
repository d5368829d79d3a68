"""Simulated speed and energy as a chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from mquans.errors import MquansError
from mquans.report.figures import STYLE

FORMATS = (".svg", ".png", ".pdf")


def plot_simulation(
    rows: Sequence[tuple[str, str, float, float]], path: str | Path, *, title: str = ""
) -> None:
    """Two charts side by side, speed and energy saved, schemes by accelerator.

    Args:
        rows: (group such as an accelerator or a network, scheme, speedup, energy saved).
        path: of an .svg, .png or .pdf file.

    Raises:
        MquansError: another kind of file, or it cannot be written.
    """
    where = Path(path)
    if where.suffix.lower() not in FORMATS:
        raise MquansError(
            f"a plot cannot be written as {where.suffix or 'a file without ending'}.",
            where=str(where),
            hint=f"Choose one of {', '.join(FORMATS)}.",
        )
    groups = list(dict.fromkeys(group for group, *_ in rows))
    schemes = list(dict.fromkeys(scheme for _, scheme, *_ in rows))
    table: Mapping[tuple[str, str], tuple[float, float]] = {
        (group, scheme): (speed, saved) for group, scheme, speed, saved in rows
    }
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10, 3.6), layout="constrained")
        speed, saved = figure.subplots(1, 2)
        wide = 0.8 / len(schemes)
        for index, scheme in enumerate(schemes):
            at = np.arange(len(groups)) + (index - (len(schemes) - 1) / 2) * wide
            pairs = [table.get((group, scheme), (np.nan, np.nan)) for group in groups]
            speed.bar(at, [pair[0] for pair in pairs], wide, label=scheme)
            saved.bar(at, [100 * pair[1] for pair in pairs], wide)
        for axes, label in ((speed, "speed, dense = 1"), (saved, "energy saved, %")):
            axes.set_xticks(np.arange(len(groups)), groups)
            axes.set_ylabel(label)
        speed.axhline(1, color="black", linewidth=0.8)
        figure.legend(loc="outside lower center", ncols=min(len(schemes), 5))
        if title:
            figure.suptitle(title)
        try:
            figure.savefig(where)
        except OSError as error:
            raise MquansError(f"cannot be written: {error}.", where=str(where)) from error
