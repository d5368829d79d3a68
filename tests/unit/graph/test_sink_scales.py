"""A scaling in front of what only moves values costs a pass over them, behind it none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mquans.graph import Binary, Conv, Gather, Pool, Reduce, Reshape, Slice, Transpose, rewrite
from mquans.graph.rewrites.sink_scales import sink_scales

from .conftest import make_graph, operators, random

IMAGE = {"x": (1, 4, 6, 6)}
POINT = Conv((1, 1), (1, 1), (0,) * 4, (1, 1))
MAX = Pool("max", (2, 2), (2, 2), (0,) * 4, (1, 1))
AVERAGE = Pool("average", (2, 2), (2, 2), (0,) * 4, (1, 1))
Keeps = Callable[..., bool]


@pytest.mark.parametrize(
    "op",
    [
        MAX, AVERAGE, Reduce("mean", (2, 3), True), Reduce("sum", (2,), True),
        Gather(1, (2, 0, 1, 1)), Slice((0, 0, 1, 0), (1, 4, 5, 6), (1,) * 4),
        Transpose((0, 1, 3, 2)), Reshape((1, 4, 4, 9)),
    ],
    ids=lambda op: type(op).__name__,
)  # fmt: skip
@pytest.mark.parametrize("names", ["x s", "s x"])
def test_a_scale_reaches_the_layer_behind(keeps_values: Keeps, op: Any, names: str) -> None:
    rows = [(Binary("mul"), names, "h"), (op, "h", "p"), (POINT, "p w", "y")]
    graph = make_graph(rows, IMAGE, ["y"], {"w": random(6, 4, 1, 1), "s": [[0.5]]})
    assert keeps_values(sink_scales, graph)
    assert len(operators(rewrite(graph))) == 2


def test_a_scale_reaches_all_layers_behind_parts_of_it(keeps_values: Keeps) -> None:
    rows = [
        (Binary("mul"), "x s", "h"),
        (Reshape((1, 2, 2, 6, 6)), "h", "r"),
        (Gather(1, (0,)), "r", "a0"), (Reshape((1, 2, 6, 6)), "a0", "a"),
        (Gather(1, (1,)), "r", "b0"), (Reshape((1, 2, 6, 6)), "b0", "b"),
        (POINT, "a w", "y"), (POINT, "b w", "z"),
    ]  # fmt: skip
    constants = {"w": random(6, 2, 1, 1), "s": 0.5}
    graph = make_graph(rows, IMAGE, ["y", "z"], constants)
    assert keeps_values(sink_scales, graph)
    assert [type(op) for op in operators(rewrite(graph))].count(Binary) == 0


@pytest.mark.parametrize(
    ("op", "factor", "outputs"),
    [
        (MAX, -0.5, ["y"]),  # the largest becomes the least
        (Reduce("l2", (2, 3), True), -0.5, ["y"]),  # of a length no sign is left
        (MAX, random(4, 1, 1), ["y"]),
        (MAX, 0.5, ["y", "h"]),  # the scaled value is returned
    ],
)
def test_others_stay(keeps_values: Keeps, op: Any, factor: Any, outputs: list[str]) -> None:
    rows = [(Binary("mul"), "x s", "h"), (op, "h", "p"), (POINT, "p w", "y")]
    constants = {"w": random(6, 4, 1, 1), "s": factor}
    assert not keeps_values(sink_scales, make_graph(rows, IMAGE, outputs, constants))
