"""A wrong shape would make the engine read outside of its buffers."""

from __future__ import annotations

import math
from typing import Any

import pytest

from mquans.errors import ModelError
from mquans.graph import (
    Concat,
    Conv,
    ConvTranspose,
    Expand,
    Gather,
    Linear,
    MatMul,
    Node,
    Pad,
    Pool,
    Reduce,
    Reshape,
    Slice,
    Transpose,
    broadcast,
    infer_node,
)

from .conftest import make_graph, random

CONV = Conv(kernel=(3, 3), strides=(2, 1), pads=(1, 0, 1, 0), dilations=(1, 2))
TRANSPOSED = ConvTranspose(
    kernel=(3, 3), strides=(2, 2), pads=(1, 1, 0, 0), dilations=(1, 1), output_padding=(1, 0),
    groups=2,
)  # fmt: skip


def pool(ceil_mode: bool) -> Pool:
    return Pool("max", (2,), (3,), (0, 0), (1,), ceil_mode)


@pytest.mark.parametrize(
    ("op", "inputs", "shape"),
    [
        (CONV, [(1, 4, 9, 9), (6, 4, 3, 3)], (1, 6, 5, 5)),
        (TRANSPOSED, [(1, 4, 5, 6), (4, 3, 3, 3)], (1, 6, 11, 12)),
        (Linear(), [(2, 3, 4), (4, 5)], (2, 3, 5)),
        (MatMul(), [(2, 1, 3, 4), (5, 4, 6)], (2, 5, 3, 6)),
        (pool(False), [(1, 2, 9)], (1, 2, 3)),
        (pool(True), [(1, 2, 9)], (1, 2, 3)),
        (pool(True), [(1, 2, 10)], (1, 2, 4)),
        (Concat(1), [(2, 3), (2, 4)], (2, 7)),
        (Slice((0, 3), (2, -1), (1, -2)), [(2, 4)], (2, 2)),
        (Gather(1, (2, 0, 2)), [(5, 3)], (5, 3)),
        (Pad((1, 0, 2, 3)), [(4, 5)], (7, 8)),
        (Reduce("mean", (0, 2), False), [(2, 3, 4)], (3,)),
        (Reduce("mean", (0, 2), True), [(2, 3, 4)], (1, 3, 1)),
        (Reshape((6, 2)), [(3, 4)], (6, 2)),
        (Transpose((2, 0, 1)), [(3, 4, 5)], (5, 3, 4)),
        (Expand((2, 3, 4)), [(3, 1)], (2, 3, 4)),
    ],
)
def test_shapes(op: Any, inputs: list[tuple[int, ...]], shape: tuple[int, ...]) -> None:
    assert infer_node(Node("n", op, (), ()), inputs) == shape


@pytest.mark.parametrize(
    ("op", "inputs", "text"),
    [
        (CONV, [(1, 5, 9, 9), (6, 4, 3, 3)], "5 channels meet 4"),
        (CONV, [(1, 4, 9), (6, 4, 3, 3)], "needs 4 axes"),
        (CONV, [(1, 4, 9, 4), (6, 4, 3, 3)], "smaller than the kernel"),
        (Linear(), [(2, 3), (4, 5)], "3 features meet 4"),
        (MatMul(), [(3, 4), (5, 6)], "4 columns meet 5 rows"),
        (Concat(1), [(2, 3), (3, 3)], "only axis 1 may differ"),
        (Gather(1, (3,)), [(5, 3)], "outside 3"),
        (Reshape((5,)), [(2, 3)], "another number of values"),
        (Transpose((0, 1)), [(2, 3, 4)], "another rank"),
        (Expand((2, 2)), [(3,)], "do not broadcast"),
    ],
)
def test_operands_that_do_not_fit_name_the_node(
    op: Any, inputs: list[tuple[int, ...]], text: str
) -> None:
    with pytest.raises(ModelError, match=text) as caught:
        infer_node(Node("layer7", op, (), ()), inputs)
    assert "layer7" in str(caught.value)


def test_broadcasting_is_that_of_numpy() -> None:
    assert broadcast((3, 1), (2, 1, 4), ()) == (2, 3, 4)
    with pytest.raises(ValueError, match="do not broadcast"):
        broadcast((2,), (3,))


def test_macs_and_neurons() -> None:
    graph = make_graph(
        [(CONV, "x w", "h"), (Reshape((1, 150)), "h", "r"), (Linear(), "r v", "y")],
        {"x": (1, 4, 9, 9)}, ["y"], {"w": random(6, 4, 3, 3), "v": random(150, 7)},
    )  # fmt: skip
    conv, reshape, linear = graph.nodes
    assert graph.macs(conv) == math.prod((6, 5, 5, 4, 3, 3))
    assert graph.macs(reshape) == 0
    assert graph.macs(linear) == 150 * 7
    assert [graph.neurons(node) for node in graph.reuse_layers()] == [4, 150]


def test_macs_of_a_transposed_convolution_count_every_input_once_per_weight() -> None:
    graph = make_graph(
        [(TRANSPOSED, "x w", "y")], {"x": (1, 4, 5, 6)}, ["y"], {"w": random(4, 3, 3, 3)}
    )
    assert graph.macs(graph.nodes[0]) == 4 * 5 * 6 * 3 * 3 * 3
