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
    Recurrence,
    Reduce,
    Reshape,
    Slice,
    Transpose,
    Unary,
    broadcast,
    infer_node,
)

from .conftest import make_graph, random

CONV = Conv(kernel=(3, 3), strides=(2, 1), pads=(1, 0, 1, 0), dilations=(1, 2))
TRANSPOSED = ConvTranspose(
    kernel=(3, 3), strides=(2, 2), pads=(1, 1, 0, 0), dilations=(1, 1), output_padding=(1, 0),
    groups=2,
)  # fmt: skip


SIGMOID, TANH = Unary("sigmoid"), Unary("tanh")


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
    assert infer_node(Node("n", op, (), ()), inputs) == (shape,)


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


def test_a_recurrence_returns_all_steps_and_its_last_states() -> None:
    node = Node("n", Recurrence("lstm", (SIGMOID, TANH, TANH)), (), ())
    assert infer_node(node, [(9, 2, 20), (5, 20)]) == ((9, 2, 5), (2, 5), (2, 5))
    with pytest.raises(ModelError, match="not lstm gates"):
        infer_node(node, [(9, 2, 15), (5, 15)])


def test_a_gru_that_resets_before_the_product_reads_two_vectors() -> None:
    def gru(reset_after: bool) -> Recurrence:
        return Recurrence("gru", (SIGMOID, TANH), reset_after=reset_after)

    graph = make_graph(
        [(gru(True), "p w", "y h"), (gru(False), "p w", "z i")],
        {"p": (7, 1, 12)}, ["y", "z"], {"w": random(4, 12)},
    )  # fmt: skip
    assert [graph.neurons(node) for node in graph.reuse_layers()] == [4, 8]
    assert [graph.macs(node) for node in graph.nodes] == [7 * 4 * 12] * 2


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
