"""The report is one file that a person can open anywhere, years later."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from mquans.errors import DependencyError, MquansError
from mquans.report import Content, LayerRow, render, write_report


def content(layers: int = 3) -> Content:
    """A made-up calibration of a network that sees pictures."""
    rng = np.random.default_rng(0)
    rows = [
        LayerRow(
            name=f"layer <{i}>",
            macs=1000 * (i + 1),
            macs_fraction=0.1 * i,
            similarity=0.9,
            bits=rng.integers(4, 9, 16),
            weight_bits=16,
            criticality=rng.lognormal(0, 2, 16),
            change=np.linspace(0, 0.5, 12) * np.ones((16, 1)),
        )
        for i in range(layers)
    ]
    return Content(
        title="net & clip",
        verdict="Keeps the budget.",
        kept=True,
        facts={"model": "net", "loss": "0.008"},
        layers=rows,
        pareto={"criticality": [(0.1, 0.05), (0.2, 0.01)], "uniform": [(0.3, 0.02)]},
        chosen=(0.2, 0.01),
        budget=0.01,
        work=rng.random((24, 32)),
        picture=rng.integers(0, 255, (24, 32)),
    )


class Page(HTMLParser):
    """Tags and ids of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]


@pytest.fixture(scope="module")
def text() -> str:
    """A page with all charts."""
    return render(content())


def test_nothing_is_fetched_and_nothing_runs(text: str) -> None:
    """It is mailed around, and opened where there is no network."""
    page = Page(text)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    for address in re.findall(r"""(?:href|src)\s*=\s*["']([^"']*)""", text):
        assert address.startswith(("#", "data:"))
    assert "@import" not in text
    assert not re.findall(r"url\((?!#)", text)


def test_every_chart_is_there_and_ids_are_unique(text: str) -> None:
    """Charts share one page: an id used twice would clip one chart by the frame of another."""
    page = Page(text)
    assert page.tags.count("svg") == 5
    assert len(page.ids) == len(set(page.ids))
    referred = set(re.findall(r'(?:url\(#|href="#)([^")]+)', text))
    assert referred <= set(page.ids)
    for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        ElementTree.fromstring(svg)


def test_names_from_the_model_are_escaped(text: str) -> None:
    """A model file may come from anywhere."""
    assert "layer &lt;0&gt;" in text
    assert "net &amp; clip" in text
    assert "layer <0>" not in text


def test_same_calibration_same_page(text: str) -> None:
    """So that two reports can be compared."""
    assert render(content()) == text


def test_only_charts_with_data() -> None:
    """Speech has no picture; uniform bits need no criticality."""
    full = content()
    rows = [replace(row, criticality=None, change=None) for row in full.layers]
    text = render(replace(full, layers=rows, work=None, picture=None, pareto={}))
    assert Page(text).tags.count("svg") == 1


def test_hundreds_of_layers_and_dead_neurons() -> None:
    """Real networks have both."""
    full = content(layers=120)
    rows = [replace(row, criticality=np.zeros(16)) for row in full.layers]
    assert "<svg" in render(replace(full, layers=rows, work=np.zeros((4, 4)), picture=None))


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "mquans.report.figures", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(DependencyError, match=r"pip install .*report"):
        render(content())


def test_a_page_that_cannot_be_written_is_said_so(tmp_path: Path) -> None:
    short = replace(content(), layers=[], work=None, picture=None, pareto={})
    write_report(short, tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")
    with pytest.raises(MquansError, match="no such file or folder"):
        write_report(short, tmp_path / "absent" / "page.html")
