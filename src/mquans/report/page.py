"""The page around the charts."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from importlib import import_module
from string import Template
from types import ModuleType

from mquans.errors import DependencyError
from mquans.files import PathLike, atomic_write
from mquans.report.content import Content, LayerRow

PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src 'unsafe-inline'">
<title>$title</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 60rem;
       margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.verdict { padding: .7rem 1rem; border-left: 5px solid; background: #f4f4f4; }
.kept { border-color: #2a8a3e; } .missed { border-color: #c0392b; }
table { border-collapse: collapse; font-size: .87rem; }
th, td { text-align: right; padding: .15rem .6rem; border-bottom: 1px solid #e3e3e3;
         font-variant-numeric: tabular-nums; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
.facts td { text-align: left; white-space: normal; }
.scroll { overflow-x: auto; }
td:has(.bar) { text-align: left; }
.bar { display: inline-block; height: .6rem; background: #4a7fb5; vertical-align: baseline; }
figure { margin: .5rem 0; } figcaption { color: #555; font-size: .9rem; }
svg { width: 100%; height: auto; }
</style>
</head>
<body>
<h1>$title</h1>
<p class="verdict $state">$verdict</p>
<table class="facts">$facts</table>
$figures
<h2>Layers</h2>
<div class="scroll"><table>
<tr><th>layer</th><th></th><th>share of MACs</th><th>MACs done</th><th></th><th>similarity</th>\
<th>bits</th><th>weights</th></tr>
$layers
</table></div>
</body>
</html>
""")

BAR_REM = 6


def render(content: Content) -> str:
    """The page as HTML: styles and charts in it, no scripts, nothing fetched.

    Raises:
        DependencyError: matplotlib is not installed.
    """
    figures = "\n".join(
        f"<h2>{escape(title)}</h2>\n<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"
        for title, svg, caption in _figures(content)
    )
    facts = "".join(
        f"<tr><th>{escape(label)}</th><td>{escape(value)}</td></tr>"
        for label, value in content.facts.items()
    )
    total = sum(layer.macs for layer in content.layers) or 1
    return PAGE.substitute(
        title=escape(content.title),
        state="kept" if content.kept else "missed",
        verdict=escape(content.verdict),
        facts=facts,
        figures=figures,
        layers="\n".join(_row(i, layer, total) for i, layer in enumerate(content.layers)),
    )


def write_report(content: Content, path: PathLike) -> None:
    """Writes the page, whole or not at all.

    Raises:
        DependencyError: matplotlib is not installed.
        MquansError: the file cannot be written.
    """
    atomic_write(path, render(content).encode())


def load_charts(name: str) -> ModuleType:
    """A module that draws with matplotlib.

    Raises:
        DependencyError: it is not installed.
    """
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "matplotlib":
            raise
        raise DependencyError(
            "reports need the package 'matplotlib'.",
            hint='Install it with: pip install "mquans[report]"',
        ) from None


def _figures(content: Content) -> Iterator[tuple[str, str, str]]:
    """(title, svg, caption) of every chart there is data for."""
    charts = load_charts("mquans.report.figures")
    layers = content.layers
    if sum(map(len, content.pareto.values())) > 1:
        yield (
            "Work and loss",
            charts.pareto(content.pareto, content.chosen, content.budget),
            "Measured with the integer engine on frames that the plans were not made from. "
            "Left and low is better.",
        )
    if content.work is not None:
        yield (
            "Where work is done",
            charts.work_map(content.work, content.picture),
            "Multiplications per pixel of the network's input, all layers together, first frames "
            "left out.",
        )
    if layers:
        yield (
            "Bits over depth",
            charts.bits_over_depth(layers),
            "How many neurons of a layer move in steps of which width.",
        )
    critical = [layer.criticality for layer in layers if layer.criticality is not None]
    if critical:
        yield (
            "Criticality of neurons",
            charts.criticality(critical),
            "How much the loss grows per unit of mean squared error on a neuron's input.",
        )
    change = [layer.change for layer in layers if layer.change is not None]
    if change:
        yield (
            "Change curves",
            charts.change_curves(change),
            "How many values change from frame to frame if a layer has so many bits.",
        )


def _row(index: int, layer: LayerRow, total: int) -> str:
    low, high = int(layer.bits.min()), int(layer.bits.max())
    bits = f"{low}" if low == high else f"{low} to {high}, mean {layer.bits.mean():.1f}"
    cells = (
        escape(layer.name),
        f"{index}",
        f"{layer.macs / total:.1%}",
        f"{layer.macs_fraction:.1%}",
        f'<span class="bar" style="width:{BAR_REM * min(layer.macs_fraction, 1):.2f}rem"></span>',
        f"{layer.similarity:.1%}",
        bits,
        f"int{layer.weight_bits}",
    )
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
