"""Pyramid pooling costs 169 sites per output unless wide pools go on from narrow ones."""

from __future__ import annotations

import numpy as np
import pytest

from mquans.graph import Graph, Node, Pool, ValueType
from mquans.graph.rewrites import rewrite
from mquans.graph.shapes import infer
from mquans.runtime.reference.interpreter import ReferenceNetwork


def pyramid(kernels: tuple[int, ...], *, stride: int = 1) -> Graph:
    nodes = [
        Node(
            f"pool{k}",
            Pool("max", (k, k), (stride, stride), (k // 2,) * 4, (1, 1)),
            ("x",),
            (f"y{k}",),
        )
        for k in kernels
    ]
    graph = Graph("net", ("x",), tuple(f"y{k}" for k in kernels), nodes, {})
    graph.types["x"] = ValueType((1, 3, 11, 9))
    graph.types = infer(graph)
    return graph


@pytest.mark.parametrize("kernels", [(5, 9, 13), (3, 13), (13, 9, 5)])
def test_values_stay_the_same(kernels: tuple[int, ...]) -> None:
    """A chain with the wrong kernel takes maxima over too few or too many sites."""
    x = np.random.default_rng(1).normal(size=(1, 3, 11, 9)).astype(np.float32)
    expected = ReferenceNetwork(pyramid(kernels)).run({"x": x})
    chained = rewrite(pyramid(kernels))
    for name, array in ReferenceNetwork(chained).run({"x": x}).items():
        np.testing.assert_array_equal(array, expected[name])


def test_wide_pools_go_on_from_narrow_ones() -> None:
    chained = rewrite(pyramid((5, 9, 13)))
    assert [node.op.kernel for node in chained.nodes if isinstance(node.op, Pool)] == [(5, 5)] * 3
    assert [node.inputs[0] for node in chained.nodes] == ["x", "y5", "y9"]


def test_pools_that_step_are_left_alone() -> None:
    """Maxima of every second window are not those of all."""
    chained = rewrite(pyramid((3, 5), stride=2))
    assert [node.inputs[0] for node in chained.nodes] == ["x", "x"]
