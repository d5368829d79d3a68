"""Rows that a layer reads need not be cut out of a sequence and put together again."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mquans.graph import Linear, Reshape, Unary, rewrite
from mquans.graph.rewrites.sink_reshapes import sink_reshapes

from .conftest import make_graph, operators, random

SEQUENCE = {"x": (1, 12, 8)}
Keeps = Callable[..., bool]


def test_layers_between_reshapes_read_the_sequence(keeps_values: Keeps) -> None:
    """As onnxruntime's optimizer writes them: flattened, multiplied, cut up."""
    rows = [
        (Reshape((12, 8)), "x", "a"),
        (Linear(), "a w b", "b0"),
        (Reshape((1, 12, 6)), "b0", "c"),
        (Unary("gelu"), "c", "d"),
        (Reshape((12, 6)), "d", "e"),
        (Linear(Unary("relu")), "e v", "f"),
        (Reshape((1, 12, 2, 4)), "f", "y"),
    ]
    constants = {"w": random(8, 6), "b": random(6), "v": random(6, 8)}
    graph = make_graph(rows, SEQUENCE, ["y"], constants)
    assert keeps_values(sink_reshapes, graph)
    assert [type(op) for op in operators(rewrite(graph))] == [Linear, Linear, Reshape]


def test_several_layers_read_the_same_sequence(keeps_values: Keeps) -> None:
    rows = [
        (Reshape((12, 8)), "x", "a"),
        (Linear(), "a w", "b"), (Reshape((1, 12, 6)), "b", "y"),
        (Linear(), "a v", "c"), (Reshape((1, 12, 6)), "c", "z"),
    ]  # fmt: skip
    graph = make_graph(rows, SEQUENCE, ["y", "z"], {"w": random(8, 6), "v": random(8, 6)})
    assert keeps_values(sink_reshapes, graph)
    assert [type(op) for op in operators(rewrite(graph))] == [Linear, Linear]


@pytest.mark.parametrize(
    ("shape", "back", "outputs"),
    [
        ((24, 4), (1, 24, 6), ["y"]),  # other rows
        ((12, 8), (1, 12, 6), ["y", "b"]),  # the matrix is returned
    ],
)
def test_a_reshape_stays_where_it_means_something(
    keeps_values: Keeps, shape: tuple[int, int], back: tuple[int, ...], outputs: list[str]
) -> None:
    rows = [(Reshape(shape), "x", "a"), (Linear(), "a w", "b"), (Reshape(back), "b", "y")]
    graph = make_graph(rows, SEQUENCE, outputs, {"w": random(shape[1], 6)})
    assert not keeps_values(sink_reshapes, graph)
