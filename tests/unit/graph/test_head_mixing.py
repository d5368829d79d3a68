"""Talking heads multiply matrices of tokens times tokens by a few numbers: as a layer over sites
that took longer than the rest of the network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mquans.graph import Linear, MatMul, Softmax, Transpose, Unary, rewrite
from mquans.graph.rewrites.head_mixing import MOST_HEADS, mix_heads

from .conftest import make_graph, operators, random

Keeps = Callable[..., bool]
LAST, BACK = Transpose((0, 2, 3, 1)), Transpose((0, 3, 1, 2))
SHAPES = {"q": (2, 3, 5, 4), "k": (2, 3, 4, 7), "v": (2, 6, 7, 4)}
CONSTANTS = {"w": random(3, 6), "b": random(6), "u": random(6, 6, seed=1), "c": random(6)}
SCORES = [(MatMul(), "q k", "s"), (LAST, "s", "t")]
READ = [(BACK, "m", "a"), (MatMul(), "a v", "y")]


@pytest.mark.parametrize(
    "rows",
    [
        [*SCORES, (Linear(), "t w b", "m"), *READ],
        [*SCORES, (Linear(), "t w", "n"), (Softmax(2), "n", "o"), (Linear(), "o u c", "m"), *READ],
        [*SCORES, (Linear(), "t w", "m"), (Softmax(2), "m", "y")],
        [*SCORES, (Unary("relu"), "t", "r"), (Linear(), "r w b", "m"), *READ],
    ],
)
def test_heads_are_mixed_where_they_lie(keeps_values: Keeps, rows: list[Any]) -> None:
    graph = make_graph(rows, SHAPES, ["y"], CONSTANTS)
    assert keeps_values(mix_heads, graph)
    assert not any(isinstance(op, Linear) for op in operators(rewrite(graph)))


def test_no_transposition_is_left_around_talking_heads() -> None:
    rows = [*SCORES, (Linear(), "t w b", "n"), (Softmax(2), "n", "o"), (Linear(), "o u c", "m")]
    graph = rewrite(make_graph([*rows, *READ], SHAPES, ["y"], CONSTANTS))
    assert not any(isinstance(op, Transpose) for op in operators(graph))


MANY = {"w": random(3, MOST_HEADS + 1), "b": random(MOST_HEADS + 1)}


@pytest.mark.parametrize(
    ("rows", "outputs"),
    [
        # Something else reads the product of the layer, or it is seen outside.
        ([*SCORES, (Linear(), "t w b", "m"), *READ], ["y", "m"]),
        # A layer of its own right: as many numbers per site as there are channels of features.
        ([*SCORES, (Linear(), "t many", "y")], ["y"]),
        # What comes from no product may be in codes already.
        ([(LAST, "v", "t"), (Linear(), "t u c", "y")], ["y"]),
        ([*SCORES, (Linear(Unary("relu")), "t w b", "m"), (BACK, "m", "y")], ["y"]),
        # The product's rows, not its heads.
        ([(MatMul(), "q k", "s"), (Linear(), "s row", "y")], ["y"]),
    ],
)
def test_others_stay(keeps_values: Keeps, rows: list[Any], outputs: list[str]) -> None:
    constants = {**CONSTANTS, "many": MANY["w"], "row": random(7, 7)}
    assert not keeps_values(mix_heads, make_graph(rows, SHAPES, outputs, constants))
