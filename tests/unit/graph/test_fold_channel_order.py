"""Networks that were trained on BGR turn RGB pictures first: the layer that reads them can take
their channels as they come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mquans.graph import Binary, Conv, Gather, Graph, Pad, Pool, Resize, Slice, Transpose, Unary
from mquans.graph.rewrites import rewrite
from mquans.graph.rewrites.fold_channel_order import fold_channel_order

from .conftest import make_graph, random

CONV = Conv((3, 3), (1, 1), (1,) * 4, (1, 1))
DEPTHWISE = Conv((3, 3), (1, 1), (1,) * 4, (1, 1), groups=4)
GROUPED = Conv((3, 3), (1, 1), (1,) * 4, (1, 1), groups=2)
BACKWARDS = Slice((0, 3, 0, 0), (1, -1, 5, 7), (1, -1, 1, 1))
SHUFFLE = Gather(1, (2, 0, 3, 1))
CONSTANTS = {
    "w": random(6, 4, 3, 3), "d": random(4, 1, 3, 3), "e": random(4), "g": random(6, 2, 3, 3),
    "five": random(6, 5, 3, 3), "c": random(4, 1, 1), "p": random(1, 4, 5, 7), "k": 3.0,
    "r": random(7),
}  # fmt: skip


def network(op: Any, *rows: tuple[Any, str, str], outputs: tuple[str, ...] = ("y",)) -> Graph:
    return make_graph([(op, "x", "o"), *rows], {"x": (1, 4, 5, 7)}, outputs, CONSTANTS)


@pytest.mark.parametrize("op", [SHUFFLE, BACKWARDS])
@pytest.mark.parametrize(
    "rows",
    [
        [(CONV, "o w", "y")],
        [(DEPTHWISE, "o d e", "v"), (CONV, "v w", "y")],
        [(Binary("sub"), "o c", "u"), (Binary("mul"), "p u", "v"), (CONV, "v w", "y")],
        [(Binary("add"), "o k", "u"), (Binary("mul"), "u r", "v"), (CONV, "v w", "y")],
        [(Unary("relu"), "o", "u"), (Pool("max", (2, 2), (1, 1), (0,) * 4, (1, 1)), "u", "v"),
         (CONV, "v w", "y")],
        [(Resize("linear", "half_pixel", "floor", (1, 1, 2, 2), (1, 4, 10, 14)), "o", "v"),
         (Pad((0, 0, 1, 0, 0, 0, 2, 1)), "v", "u"), (CONV, "u w", "y")],
    ],
    ids=lambda rows: str(len(rows)),
)  # fmt: skip
def test_the_layer_behind_takes_channels_as_they_come(
    keeps_values: Callable[..., bool], op: Any, rows: list[Any]
) -> None:
    graph = network(op, *rows)
    assert keeps_values(fold_channel_order, graph)
    assert not any(isinstance(node.op, Gather | Slice) for node in graph.nodes)


@pytest.mark.parametrize(
    "graph",
    [
        network(Gather(1, (2, 0, 3, 3)), (CONV, "o w", "y")),
        network(Gather(2, (2, 0, 3, 1, 4)), (CONV, "o w", "y")),
        network(Slice((0, 3, 4, 0), (1, -1, -1, 7), (1, -1, -1, 1)), (CONV, "o w", "y")),
        network(SHUFFLE, (GROUPED, "o g", "y")),
        network(SHUFFLE, (CONV, "o w", "y"), outputs=("y", "o")),
        network(SHUFFLE, (CONV, "o w", "u"), (Binary("mul"), "o o", "y"), outputs=("u", "y")),
        network(SHUFFLE, (Binary("add"), "o x", "v"), (CONV, "v w", "y")),
        network(SHUFFLE, (Pad((0, 1, 0, 0, 0, 0, 0, 0)), "o", "v"), (CONV, "v five", "y")),
    ],
)
def test_others_stay(keeps_values: Callable[..., bool], graph: Graph) -> None:
    """Channels that are left out or come twice, in groups, or that something else reads."""
    assert not keeps_values(fold_channel_order, graph)


@pytest.mark.parametrize(
    "flip", [Slice((0, 0, 0, 2), (1, 5, 7, -1), (1, 1, 1, -1)), Gather(3, (2, 1, 0))]
)
def test_pictures_with_their_channels_side_by_side_are_turned_before_they_are_reversed(
    flip: Any,
) -> None:
    """Such as `image[..., ::-1]` in front of what a converter turns."""
    graph = make_graph(
        [(flip, "x", "f"), (Binary("sub"), "f m", "v"), (Transpose((0, 3, 1, 2)), "v", "t"),
         (CONV, "t w", "y")],
        {"x": (1, 5, 7, 3)}, ["y"], {"m": random(3), "w": random(4, 3, 3, 3)},
    )  # fmt: skip
    assert [type(node.op) for node in rewrite(graph).nodes] == [Transpose, Binary, Conv]
