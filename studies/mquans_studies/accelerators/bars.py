"""Bars side by side: the chart of `plot_simulation`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from mquans.report.figures import STYLE

Bar = tuple[str, str, float, float]


def save_bars(rows: Sequence[Bar], path: Path, *, title: str) -> None:
    """Draws and writes it; arguments as `plot_simulation`."""
    groups = list(dict.fromkeys(group for group, *_ in rows))
    schemes = list(dict.fromkeys(scheme for _, scheme, *_ in rows))
    table = {(group, scheme): (speed, saved) for group, scheme, speed, saved in rows}
    missing = (np.nan, np.nan)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10, 3.6), layout="constrained")
        speed, saved = figure.subplots(1, 2)
        wide = 0.8 / len(schemes)
        for index, scheme in enumerate(schemes):
            at = np.arange(len(groups)) + (index - (len(schemes) - 1) / 2) * wide
            pairs = [table.get((group, scheme), missing) for group in groups]
            speed.bar(at, [pair[0] for pair in pairs], wide, label=scheme)
            saved.bar(at, [100 * pair[1] for pair in pairs], wide)
        for axes, label in ((speed, "speed, dense = 1"), (saved, "energy saved, %")):
            axes.set_xticks(np.arange(len(groups)), groups)
            axes.set_ylabel(label)
        speed.axhline(1, color="black", linewidth=0.8)
        figure.legend(loc="outside lower center", ncols=min(len(schemes), 5))
        if title:
            figure.suptitle(title)
        figure.savefig(path)
