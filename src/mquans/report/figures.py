"""The charts of a report, each as SVG text."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from mquans.report.content import Curve, Floats, LayerRow

STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: small, searchable
    "svg.hashsalt": "mquans",  # the same figure gives the same bytes
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
}
WIDTH_INCH = 7.2
MARKERS = "osD^vP*X<>"
QUANTILES = (0, 10, 50, 90, 100)
LEAST_SHOWN = 1e-9
"""Of the largest criticality: neurons below hardly exist."""
BRIGHTEST = 99.5
"""Percentile of the map of work that is shown brightest."""


def pareto(curves: Mapping[str, Curve], chosen: tuple[float, float], budget: float | None) -> str:
    """Loss against work, one line per method."""
    with _figure(3.6) as (figure, axes):
        for (method, curve), marker in zip(sorted(curves.items()), cycle(MARKERS), strict=False):
            work, loss = np.array(sorted(curve)).T
            axes.plot(work, loss, marker=marker, markersize=4, linewidth=1.2, label=method)
        if budget is not None:
            axes.axhline(budget, color="black", linestyle="--", linewidth=1)
            place: Any = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points"}
            axes.annotate(f"budget {budget:g}", (1, budget), (0, 3), ha="right", **place)
        axes.plot(*chosen, "o", markersize=11, fillstyle="none", color="black", label="the plan")
        axes.set(xlabel="MACs done", ylabel="measured loss", yscale="log")
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.legend(loc="best", fontsize=8)
        return _svg(figure, "pareto")


def bits_over_depth(layers: Sequence[LayerRow]) -> str:
    """Share of a layer's neurons at every width, layer by layer."""
    top = max(int(layer.bits.max()) for layer in layers)
    shares = np.zeros((top + 1, len(layers)))
    for index, layer in enumerate(layers):
        shares[:, index] = np.bincount(layer.bits, minlength=top + 1) / len(layer.bits)
    with _figure(2.8) as (figure, axes):
        image = axes.imshow(
            np.where(shares > 0, shares, np.nan), origin="lower", aspect="auto", cmap="viridis_r",
            vmin=0, vmax=1, interpolation="nearest",
        )  # fmt: skip
        mean = [float(layer.bits.mean()) for layer in layers]
        axes.plot(mean, color="crimson", linewidth=1.5, label="mean")
        axes.set(xlabel="layer, from input to output", ylabel="bits", ylim=(0.5, top + 0.5))
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(loc="upper right", fontsize=8)
        bar = figure.colorbar(image, ax=axes, format=PercentFormatter(1, decimals=0))
        bar.set_label("share of the neurons")
        return _svg(figure, "bits")


def criticality(values: Sequence[Floats]) -> str:
    """Spread of the criticality of a layer's neurons, layer by layer; neurons of 0 left out."""
    positive = [layer[layer > 0] for layer in values]
    found = [i for i, layer in enumerate(positive) if layer.size]
    bands = np.array([np.percentile(positive[i], QUANTILES) for i in found]).T
    with _figure(2.8) as (figure, axes):
        if found:
            low, lower, middle, upper, high = bands
            axes.fill_between(found, low, high, alpha=0.2, linewidth=0, label="all neurons")
            axes.fill_between(found, lower, upper, alpha=0.35, linewidth=0, label="middle 80 %")
            axes.plot(found, middle, marker=".", linewidth=1.2, label="median")
            axes.set(yscale="log", ylim=(max(low.min(), LEAST_SHOWN * high.max()) / 2, None))
            axes.legend(fontsize=8)
        axes.set(xlabel="layer, from input to output", ylabel="loss per squared error")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        return _svg(figure, "criticality")


def change_curves(values: Sequence[Floats]) -> str:
    """Share of changing inputs against bits, one line per layer, coloured by depth."""
    with _figure(3.0) as (figure, axes):
        scale: Any = ScalarMappable(Normalize(0, max(len(values) - 1, 1)), "viridis")
        for depth, layer in enumerate(values):
            bits = np.arange(1, layer.shape[1] + 1)
            axes.plot(bits, layer.mean(axis=0), color=scale.to_rgba(depth), linewidth=1)
        axes.set(xlabel="bits", ylabel="values changed per frame", ylim=(0, None))
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        figure.colorbar(scale, ax=axes, ticks=MaxNLocator(integer=True)).set_label("layer")
        return _svg(figure, "change")


def work_map(work: Floats, picture: npt.NDArray[np.generic] | None) -> str:
    """Where in the picture MACs were spent, over one frame."""
    height, width = work.shape
    with _figure(min(WIDTH_INCH * 0.8 * height / width, 6)) as (figure, axes):
        if picture is not None:
            axes.imshow(picture, cmap="gray", interpolation="bilinear")
        # A few pixels at the border of the picture are dearer than all others.
        top = float(np.percentile(work, BRIGHTEST)) or float(work.max()) or 1.0
        opacity = 1.0 if picture is None else np.clip(work / top, 0, 1) ** 0.5
        shown = axes.imshow(
            work, cmap="inferno", vmin=0, vmax=top, alpha=opacity, interpolation="nearest"
        )
        axes.grid(visible=False)
        axes.set(xticks=[], yticks=[])
        figure.colorbar(shown, ax=axes).set_label("MACs per pixel and frame")
        return _svg(figure, "work")


@contextmanager
def _figure(height_inch: float) -> Iterator[tuple[Figure, Axes]]:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_INCH, height_inch), layout="constrained")
        yield figure, figure.subplots()


def _svg(figure: Figure, name: str) -> str:
    """The figure as an <svg> element whose ids cannot meet those of another on the same page."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'\bid="', f'id="{name}-', text)
    return re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", text)
