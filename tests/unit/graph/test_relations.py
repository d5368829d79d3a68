"""What logarithms and quotients read has no codes: they hold differences, and here relations
count."""

from __future__ import annotations

from typing import Any

import pytest

from mquans.graph import (
    Binary,
    Conv,
    Graph,
    Reduce,
    Reshape,
    Unary,
    functions_before_quotients,
    products_with_quotients,
    rewrite,
)

from .conftest import make_graph, random

CONV = Conv((1, 1), (1, 1), (0,) * 4, (1, 1))
PICTURE = {"x": (1, 4, 6, 6)}
CONSTANTS = {"w": random(4, 4, 1, 1), "one": 1.0, "least": 1e-5, "half": -0.5, "two": 2.0}


def network(*rows: tuple[Any, str, str]) -> Graph:
    """A convolution `a` of x, and what follows it; the last value is the output."""
    return make_graph([(CONV, "x w", "a"), *rows], PICTURE, [rows[-1][2]], CONSTANTS)


@pytest.mark.parametrize("kind", ["sigmoid", "tanh", "hard_sigmoid"])
@pytest.mark.parametrize(
    "rows",
    [
        [(Unary("log"), "s", "y")],
        [(Binary("sub"), "one s", "d"), (Unary("log"), "d", "y")],
        [(Binary("add"), "s least", "d"), (Reshape((4, 36)), "d", "e"), (Unary("log"), "e", "y")],
        [(Unary("reciprocal"), "s", "y")],
        [(Binary("div"), "x s", "y")],
        [(Binary("pow"), "s half", "y")],
        [(Unary("log"), "s", "l"), (Binary("mul"), "s l", "y")],
    ],
)
def test_bounded_functions_before_quotients_are_apart(kind: Any, rows: list[Any]) -> None:
    params = (0.2, 0.5) if kind == "hard_sigmoid" else ()
    graph = network((Unary(kind, params), "a", "s"), *rows)
    assert functions_before_quotients(graph) == {"s"}
    rewrite(graph)
    assert any(isinstance(node.op, Unary) and node.op.kind == kind for node in graph.nodes)


@pytest.mark.parametrize(
    "rows",
    [
        [(Unary("sigmoid"), "a", "s"), (CONV, "s w", "b"), (Unary("log"), "b", "y")],
        [(Unary("sigmoid"), "a", "s"), (Binary("div"), "s two", "y")],
        [(Unary("sigmoid"), "a", "s"), (Binary("pow"), "s two", "y")],
        [(Unary("relu"), "a", "s"), (Unary("log"), "s", "y")],
    ],
)
def test_others_stay_with_their_layers(rows: list[Any]) -> None:
    graph = network(*rows)
    assert functions_before_quotients(graph) == set()
    assert "s" not in {node.name for node in rewrite(graph).nodes if isinstance(node.op, Unary)}


SQUARES = [
    (Binary("mul"), "a a", "q"),
    (Reduce("mean", (1,), True), "q", "m"),
    (Binary("add"), "m least", "v"),
]


@pytest.mark.parametrize(
    "rows",
    [
        [(Unary("sqrt"), "v", "r"), (Unary("reciprocal"), "r", "s")],
        [(Unary("sqrt"), "v", "r"), (Binary("div"), "one r", "s")],
        [(Binary("pow"), "v half", "s")],
        [(Unary("reciprocal"), "v", "r"), (Unary("sqrt"), "r", "t"), (Binary("mul"), "t two", "s")],
    ],
)
def test_products_with_quotients_of_sites_are_apart(rows: list[Any]) -> None:
    graph = network(*SQUARES, *rows, (Binary("mul"), "a s", "p"), (CONV, "p w", "y"))
    assert products_with_quotients(graph) == {"p"}


def test_products_with_one_number_per_channel_stay() -> None:
    """Channels have steps of their own."""
    graph = network(
        (Reduce("mean", (2, 3), True), "a", "m"), (Unary("reciprocal"), "m", "s"),
        (Binary("mul"), "a s", "p"), (CONV, "p w", "y"),
    )  # fmt: skip
    assert products_with_quotients(graph) == set()
