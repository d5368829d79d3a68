"""Every scaling between quantized layers is a pass over a tensor; neighbours need one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mquans.graph import Binary, Unary
from mquans.graph.rewrites.merge_scales import merge_scales

from .conftest import make_graph, operators, random

IMAGE = {"x": (1, 4, 6, 6), "z": (1, 4, 6, 6)}
MUL, DIV = Binary("mul"), Binary("div")
Keeps = Callable[..., bool]
NUMBERS = {"s": 0.5, "t": [[4.0]], "u": -0.25}


def test_scales_around_a_product_become_one_behind_it(keeps_values: Keeps) -> None:
    rows = [(MUL, "x s", "a"), (MUL, "t z", "b"), (MUL, "a b", "p"), (DIV, "p u", "y")]
    graph = make_graph(rows, IMAGE, ["y"], NUMBERS)
    assert keeps_values(merge_scales, graph)
    product, scale = (node for node in graph.nodes if node.outputs[0] in ("p", "y"))
    assert set(product.inputs) == {"x", "z"}
    assert graph.constants[scale.inputs[1]] == np.float32(0.5 * 4.0 / -0.25)


def test_scales_in_a_row_become_one(keeps_values: Keeps) -> None:
    rows = [(MUL, "x s", "a"), (DIV, "a u", "b"), (MUL, "b t", "y")]
    graph = make_graph(rows, IMAGE, ["y"], NUMBERS)
    assert keeps_values(merge_scales, graph)
    assert operators(graph) == [MUL]


def test_a_scaled_value_that_others_read_stays(keeps_values: Keeps) -> None:
    rows = [
        (MUL, "x s", "a"), (Unary("sigmoid"), "a", "g"), (MUL, "a g", "p"), (DIV, "p u", "y"),
    ]  # fmt: skip
    graph = make_graph(rows, IMAGE, ["y"], NUMBERS)
    assert keeps_values(merge_scales, graph)
    assert operators(graph) == [MUL, Unary("sigmoid"), MUL, MUL]


@pytest.mark.parametrize(
    ("rows", "outputs", "numbers"),
    [
        ([(MUL, "x s", "a"), (DIV, "u a", "y")], ["y"], NUMBERS),  # one over the value
        ([(MUL, "x s", "a"), (DIV, "a u", "y")], ["y", "a"], NUMBERS),  # returned as well
        ([(MUL, "x s", "a"), (DIV, "a u", "y")], ["y"], NUMBERS | {"s": random(4, 1, 1)}),
        ([(MUL, "x s", "a"), (DIV, "a u", "y")], ["y"], NUMBERS | {"s": 0.0}),
        ([(Binary("add"), "x s", "a"), (DIV, "a u", "y")], ["y"], NUMBERS),
    ],
)
def test_others_stay(keeps_values: Keeps, rows: Any, outputs: Any, numbers: Any) -> None:
    assert not keeps_values(merge_scales, make_graph(rows, IMAGE, outputs, numbers))
