"""Attention scales matrices of heads, or of pairs of tokens: passes that weights can do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mquans.graph import Binary, Linear, MatMul, Reshape, Softmax, Transpose, Unary, rewrite
from mquans.graph.rewrites.hoist_scales import hoist_scales

from .conftest import make_graph, operators, random

Keeps = Callable[..., bool]
TOKENS = {"x": (1, 5, 8), "v": (2, 5, 4)}
MUL, DIV, HEADS, TURN = Binary("mul"), Binary("div"), Reshape((5, 2, 4)), Transpose((1, 0, 2))
QUERIES = [(Linear(), "x w b", "h"), (HEADS, "h", "r"), (TURN, "r", "q")]
KEYS = [(Linear(), "x u", "g"), (HEADS, "g", "s"), (Transpose((1, 2, 0)), "s", "k")]
CONSTANTS = {"w": random(8, 8), "b": random(8), "u": random(8, 8, seed=1), "c": 0.35,
             "d": [[[2.8]]], "t": random(4)}  # fmt: skip


@pytest.mark.parametrize(
    "rows",
    [
        [*QUERIES, (MUL, "q c", "y")],
        [*QUERIES, (MUL, "c q", "y")],
        [*QUERIES, (DIV, "q d", "y")],
        [*QUERIES, *KEYS, (MatMul(), "q k", "p"), (DIV, "p d", "m"), (Softmax(2), "m", "y")],
        [*KEYS, (MatMul(), "v k", "p"), (MUL, "p c", "y")],
    ],
)
def test_weights_take_the_scale_up(keeps_values: Keeps, rows: list[Any]) -> None:
    graph = make_graph(rows, TOKENS, ["y"], CONSTANTS)
    assert keeps_values(hoist_scales, graph)
    assert not any(isinstance(op, Binary) for op in operators(rewrite(graph)))


@pytest.mark.parametrize(
    ("rows", "outputs"),
    [
        ([*QUERIES, (MUL, "q c", "y")], ["y", "r"]),  # something else reads what is not scaled
        ([(Linear(Unary("relu")), "x w b", "q"), (MUL, "q c", "y")], ["y"]),
        ([*QUERIES, (MUL, "q t", "y")], ["y"]),  # not one number
        ([*QUERIES, (DIV, "d q", "y")], ["y"]),
    ],
)
def test_others_stay(keeps_values: Keeps, rows: list[Any], outputs: list[str]) -> None:
    assert not keeps_values(hoist_scales, make_graph(rows, TOKENS, outputs, CONSTANTS))
