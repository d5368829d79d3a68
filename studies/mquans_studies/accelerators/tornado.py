"""Swings around a value, the widest on top: the chart of `plot_sensitivity`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from mquans.report.figures import STYLE

Swing = tuple[str, tuple[float, float], tuple[float, float]]


def save_tornado(
    base: tuple[float, float], swings: Sequence[Swing], path: Path, *, title: str
) -> None:
    """Draws and writes it; arguments as `plot_sensitivity`."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10, 0.6 + 0.32 * len(swings)), layout="constrained")
        axes = figure.subplots(1, 2)
        names = [name for name, _, _ in swings]
        speeds = np.array([speed for _, speed, _ in swings])
        saved = np.array([100 * np.array(part) for _, _, part in swings])
        kinds = ((speeds, base[0], "speed, dense = 1"), (saved, 100 * base[1], "energy saved, %"))
        for plot, (ends, middle, label) in zip(axes, kinds, strict=True):
            order = np.argsort(np.abs(ends[:, 1] - ends[:, 0]))
            at = np.arange(len(order))
            for end, name in ((0, "least"), (1, "most")):
                plot.barh(at, ends[order, end] - middle, left=middle, label=name)
            plot.set_yticks(at, [names[place] for place in order])
            plot.axvline(middle, color="black", linewidth=0.8)
            plot.set_xlabel(label)
        axes[0].legend(title="of the range", loc="lower right")
        if title:
            figure.suptitle(title)
        figure.savefig(path)
