"""Files whose nodes stand in another order than they run in: onnxruntime takes them, so users have
them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from mquans.errors import ModelError
from mquans.onnx import import_model, read_model

from .conftest import Check, build, op, values

CHAIN = [
    op("MatMul", "x w", "a"),
    op("Relu", "a", "b"),
    op("Add", "b x", "c"),
    op("Sigmoid", "c", "d"),
    op("Mul", "d a", "y"),
]


@pytest.mark.parametrize("seed", range(4))
def test_nodes_in_any_order(check: Check, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(CHAIN))
    nodes = [CHAIN[index] for index in order]
    check(build(nodes, {"x": (2, 4)}, ["y"], {"w": values(0, 4, 4)}))


def test_what_a_branch_reads_of_the_graph_around_it_comes_first(check: Check) -> None:
    then = onnx.helper.make_graph(
        [op("Relu", "h", "r"), op("Neg", "r", "t")], "then", [], [onnx.ValueInfoProto(name="t")]
    )
    other = onnx.helper.make_graph(
        [op("Abs", "h", "e")], "else", [], [onnx.ValueInfoProto(name="e")]
    )
    nodes = [
        onnx.helper.make_node("If", ["known"], ["y"], then_branch=then, else_branch=other),
        op("MatMul", "x w", "h"),
    ]
    check(build(nodes, {"x": (2, 4)}, ["y"], {"w": values(0, 4, 4), "known": np.array(True)}))


def test_a_circle_is_named() -> None:
    nodes = [op("Add", "x b", "a"), op("Relu", "a", "b"), op("Neg", "a", "y")]
    model = build(nodes, {"x": (2,)}, ["y"])
    with pytest.raises(ModelError, match="goes round in a circle"):
        import_model(read_model(model))


def test_what_nothing_computes_is_named() -> None:
    model = build([op("Add", "x ghost", "y")], {"x": (2,)}, ["y"])
    with pytest.raises(ModelError, match="reads 'ghost', which nothing in the model makes"):
        import_model(read_model(model))
