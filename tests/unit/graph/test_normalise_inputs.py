"""Networks that normalise their pictures themselves do it in one product and one sum, which are
applied while a picture is compared; node by node they would be steps of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mquans.graph import Binary, Conv, Graph, Resize, Transpose
from mquans.graph.rewrites import rewrite
from mquans.graph.rewrites.normalise_inputs import normalise_inputs

from .conftest import make_graph, random

CONV = Conv((3, 3), (1, 1), (1,) * 4, (1, 1))
PICTURE = {"x": (1, 3, 5, 7)}
MEAN = np.array([0.485, 0.456, 0.406]).reshape(3, 1, 1)
DEVIATION = np.array([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1)


def normalising(*rows: tuple[str, Any], turned: bool = False) -> Graph:
    """x through operators with a constant each: "sub" as x - c, "-sub" as c - x."""
    constants: dict[str, Any] = {"w": random(4, 3, 3, 3)}
    nodes: list[Any] = [(Transpose((0, 3, 1, 2)), "x", "t")] if turned else []
    value = "t" if turned else "x"
    for i, (kind, constant) in enumerate(rows):
        constants[f"c{i}"] = constant
        names = f"c{i} {value}" if kind.startswith("-") else f"{value} c{i}"
        nodes.append((Binary(kind.strip("-")), names, f"v{i}"))  # type: ignore[arg-type]
        value = f"v{i}"
    nodes.append((CONV, f"{value} w", "y"))
    return make_graph(nodes, {"x": (1, 5, 7, 3)} if turned else PICTURE, ["y"], constants)


def kinds(graph: Graph) -> list[str]:
    return [node.op.kind for node in graph.nodes if isinstance(node.op, Binary)]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("rows", "left"),
    [
        ([("div", 255.0), ("sub", MEAN), ("div", DEVIATION)], ["mul", "add"]),
        ([("-mul", 2 / 255), ("sub", 1.0)], ["mul", "add"]),
        ([("sub", 127.5), ("div", 127.5)], ["mul", "add"]),
        ([("-sub", MEAN)], ["mul", "add"]),
        ([("-add", MEAN), ("add", MEAN)], ["add"]),
        ([("sub", MEAN)], ["add"]),
        ([("div", DEVIATION)], ["mul"]),
    ],
)
def test_normalisation_is_a_product_and_a_sum(
    keeps_values: Callable[..., bool], rows: list[tuple[str, Any]], left: list[str], turned: bool
) -> None:
    graph = normalising(*rows, turned=turned)
    keeps_values(normalise_inputs, graph)
    assert kinds(rewrite(graph)) == left
    for node in graph.nodes:
        assert not isinstance(node.op, Binary) or node.inputs[1] in graph.constants
    assert not keeps_values(normalise_inputs, graph)


def test_layers_take_up_one_factor() -> None:
    assert kinds(rewrite(normalising(("div", 255.0), ("mul", 2.0)))) == []


@pytest.mark.parametrize(
    "rows",
    [
        [("-div", MEAN)],
        [("div", np.array([1.0, 0.0, 1.0]).reshape(3, 1, 1))],
        [("sub", random(1, 3, 5, 7))],
        [("sub", random(5, 1))],
        [("pow", 2.0)],
    ],
)
def test_what_is_no_factor_or_offset_of_channels_stays(
    keeps_values: Callable[..., bool], rows: list[tuple[str, Any]]
) -> None:
    graph = normalising(*rows)
    with np.errstate(divide="ignore", invalid="ignore"):
        assert not keeps_values(normalise_inputs, graph)


def test_what_is_read_elsewhere_stays(keeps_values: Callable[..., bool]) -> None:
    """The shifted picture is also an output, or wanted by another node; many channels are no
    picture."""
    shift, scale = (Binary("sub"), "x m", "v"), (Binary("div"), "v s", "u")
    constants = {"m": MEAN, "s": DEVIATION, "w": random(4, 3, 3, 3)}
    layer = (CONV, "u w", "y")
    shown = make_graph([shift, scale, layer], PICTURE, ["y", "v"], constants)
    twice = make_graph([shift, scale, layer, (CONV, "v w", "z")], PICTURE, ["y", "z"], constants)
    for graph in (shown, twice):
        keeps_values(normalise_inputs, graph)
        assert kinds(graph)[-1] in ("add", "div")
        assert len(kinds(graph)) == 2
    wide = make_graph(
        [(Binary("sub"), "x m", "v"), (Binary("div"), "v s", "u"), (CONV, "u w", "y")],
        {"x": (1, 5, 6, 7)}, ["y"],
        {"m": random(5, 1, 1), "s": random(5, 1, 1), "w": random(4, 5, 3, 3)},
    )  # fmt: skip
    assert not keeps_values(normalise_inputs, wide)


def test_pictures_are_normalised_before_they_are_resized(keeps_values: Callable[..., bool]) -> None:
    """Where the picture is compared this costs nothing."""
    resize = Resize("linear", "half_pixel", "floor", (1.0, 1.0, 1.6, 0.5), (1, 3, 8, 3))
    graph = make_graph(
        [(Binary("div"), "x k", "u"), (resize, "u", "r"), (Binary("sub"), "r m", "v"),
         (Binary("div"), "v s", "z"), (CONV, "z w", "y")],
        PICTURE, ["y"],
        {"k": 255.0, "m": MEAN, "s": DEVIATION, "w": random(4, 3, 3, 3)},
    )  # fmt: skip
    assert keeps_values(normalise_inputs, graph)
    while keeps_values(normalise_inputs, graph):
        pass
    rewrite(graph)
    assert [type(node.op) for node in graph.nodes] == [Binary, Binary, Resize, Conv]
