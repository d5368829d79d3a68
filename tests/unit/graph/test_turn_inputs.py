"""Pictures that are normalised with their channels side by side are turned first: else they are
copied and compared value by value, ten times as slowly."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mquans.graph import Binary, Conv, Graph, Transpose
from mquans.graph.rewrites import rewrite
from mquans.graph.rewrites.turn_inputs import turn_inputs

from .conftest import make_graph, random

TURN = Transpose((0, 3, 1, 2))
CONV = Conv((3, 3), (1, 1), (1,) * 4, (1, 1))


def normalising(shape: tuple[int, ...], kinds: str = "sub div", *, left: bool = False) -> Graph:
    """x [1, 5, 7, 3] through operators with constants of a shape, turned and convolved."""
    constants = {"w": random(4, 3, 3, 3)}
    rows = []
    value = "x"
    for i, kind in enumerate(kinds.split()):
        constants[f"c{i}"] = random(*shape, seed=i) + 3
        operands = f"c{i} {value}" if left else f"{value} c{i}"
        rows.append((Binary(kind), operands, f"v{i}"))  # type: ignore[arg-type]
        value = f"v{i}"
    rows += [(TURN, value, "t"), (CONV, "t w", "y")]
    return make_graph(rows, {"x": (1, 5, 7, 3)}, ["y"], constants)


def operators(graph: Graph) -> list[type]:
    return [type(node.op) for node in graph.nodes]


@pytest.mark.parametrize("shape", [(3,), (1, 1, 1, 3), (), (1, 5, 7, 3), (7, 1)])
@pytest.mark.parametrize("left", [False, True])
def test_normalised_inputs_are_turned_first(
    keeps_values: Callable[..., bool], shape: tuple[int, ...], left: bool
) -> None:
    graph = normalising(shape, left=left)
    assert keeps_values(turn_inputs, graph)
    while keeps_values(turn_inputs, graph):
        pass
    assert operators(graph) == [Transpose, Binary, Binary, Conv]


def test_the_layer_takes_up_what_can_be_folded() -> None:
    assert operators(rewrite(normalising((), "mul"))) == [Transpose, Conv]


def test_others_stay(keeps_values: Callable[..., bool]) -> None:
    """What is read twice, computed from two values, larger than the input, or no input."""
    twice = make_graph(
        [(Binary("sub"), "x c", "v"), (TURN, "v", "t"), (CONV, "t w", "y"), (CONV, "t w", "z"),
         (Binary("add"), "v c", "u")],
        {"x": (1, 5, 7, 3)}, ["y", "z", "u"], {"c": random(3), "w": random(4, 3, 3, 3)},
    )  # fmt: skip
    computed = make_graph(
        [(Binary("sub"), "x z", "v"), (TURN, "v", "t"), (CONV, "t w", "y")],
        {"x": (1, 5, 7, 3), "z": (1, 5, 7, 3)}, ["y"], {"w": random(4, 3, 3, 3)},
    )  # fmt: skip
    larger = make_graph(
        [(Binary("add"), "x c", "v"), (TURN, "v", "t"), (CONV, "t w", "y")],
        {"x": (1, 5, 7, 1)}, ["y"], {"c": random(3), "w": random(4, 3, 3, 3)},
    )  # fmt: skip
    inner = make_graph(
        [(Binary("mul"), "x x", "s"), (Binary("add"), "s c", "v"), (TURN, "v", "t"),
         (CONV, "t w", "y")],
        {"x": (1, 5, 7, 3)}, ["y"], {"c": random(3), "w": random(4, 3, 3, 3)},
    )  # fmt: skip
    for graph in (twice, computed, larger, inner):
        assert not keeps_values(turn_inputs, graph)
