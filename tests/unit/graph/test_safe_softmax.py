"""Attention under a mask, as torch exports it, makes three passes over all pairs of tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mquans.graph import Binary, Softmax, Unary, rewrite
from mquans.graph.rewrites.safe_softmax import find_safe_softmax

from .conftest import make_graph, operators

EQUAL, MASK, SUB = Binary("equal"), Binary("mask"), Binary("sub")
ONE = {"one": 1.0, "two": 2.0}
TOKENS = {"x": (2, 3, 5, 5)}
SOFTMAX = (Softmax(3), "x", "s")


@pytest.mark.parametrize(
    "rows",
    [
        [
            SOFTMAX,
            (EQUAL, "s s", "e"),
            (SUB, "one e", "n"),
            (SUB, "one n", "o"),
            (MASK, "s o", "y"),
        ],
        [SOFTMAX, (EQUAL, "s s", "e"), (MASK, "s e", "y")],
    ],
)
def test_zeros_in_place_of_nan_are_part_of_the_softmax(
    keeps_values: Callable[..., bool], rows: list[Any]
) -> None:
    graph = make_graph(rows, TOKENS, ["y"], ONE)
    assert keeps_values(find_safe_softmax, graph)
    assert operators(rewrite(graph)) == [Softmax(3, nan_is_zero=True)]


@pytest.mark.parametrize(
    "rows",
    [
        [SOFTMAX, (EQUAL, "s s", "e"), (SUB, "one e", "n"), (MASK, "s n", "y")],
        [
            SOFTMAX,
            (EQUAL, "s s", "e"),
            (SUB, "two e", "n"),
            (SUB, "two n", "o"),
            (MASK, "s o", "y"),
        ],
        [SOFTMAX, (EQUAL, "s x", "e"), (MASK, "s e", "y")],
        [(Softmax(3, log=True), "x", "s"), (EQUAL, "s s", "e"), (MASK, "s e", "y")],
        [(Unary("exp"), "x", "s"), (EQUAL, "s s", "e"), (MASK, "s e", "y")],
    ],
)
def test_others_stay(keeps_values: Callable[..., bool], rows: list[Any]) -> None:
    """What hides numbers, other numbers than 1, other values."""
    assert not keeps_values(find_safe_softmax, make_graph(rows, TOKENS, ["y"], ONE))
