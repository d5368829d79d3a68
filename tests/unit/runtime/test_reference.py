"""The oracle decides who is right, so its own answers are checked against plain definitions."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from mquans.errors import FrameError
from mquans.graph import Conv, ConvTranspose, Graph, Linear, Node, Resize, Unary, ValueType, infer
from mquans.runtime.reference.interpreter import ReferenceNetwork


def graph_of(node: Node, shape: tuple[int, ...], **constants: np.ndarray) -> Graph:
    graph = Graph("one", ("x",), node.outputs, [node], constants, {"x": ValueType(shape)})
    graph.types = infer(graph)
    return graph


def test_a_convolution_is_the_sum_over_its_taps() -> None:
    random = np.random.default_rng(1)
    x, w = random.normal(size=(1, 4, 7, 6)), random.normal(size=(6, 2, 3, 2))
    op = Conv((3, 2), (2, 1), (1, 0, 0, 1), (1, 2), groups=2, activation=Unary("relu"))
    graph = graph_of(Node("n", op, ("x", "w", "b"), ("y",)), x.shape, w=w, b=np.arange(6.0))
    found = ReferenceNetwork(graph).run({"x": x})["y"]
    padded = np.pad(x, [(0, 0), (0, 0), (1, 0), (0, 1)])
    for o, row, column in itertools.product(range(6), range(3), range(5)):
        window = padded[
            0, (o // 3) * 2 : (o // 3) * 2 + 2, row * 2 : row * 2 + 3, column : column + 3 : 2
        ]
        assert found[0, o, row, column] == pytest.approx(max((window * w[o]).sum() + o, 0))


def test_a_transposed_convolution_is_the_adjoint_of_the_convolution() -> None:
    """<conv(x), y> == <x, conv_transpose(y)> for the same weights."""
    random = np.random.default_rng(2)
    x, w = random.normal(size=(1, 4, 9, 8)), random.normal(size=(6, 2, 3, 2))
    conv = Conv((3, 2), (2, 1), (1, 0, 1, 0), (1, 2), groups=2)
    forward = ReferenceNetwork(graph_of(Node("n", conv, ("x", "w"), ("y",)), x.shape, w=w)).run(
        {"x": x}
    )["y"]
    y = random.normal(size=forward.shape)
    back = ConvTranspose((3, 2), (2, 1), (1, 0, 1, 0), (1, 2), (0, 0), groups=2)
    graph = graph_of(Node("n", back, ("x", "w"), ("y",)), y.shape, w=w)
    adjoint = ReferenceNetwork(graph).run({"x": y})["y"]
    assert adjoint.shape == x.shape
    assert (forward * y).sum() == pytest.approx((x * adjoint).sum())


def test_outputs_can_be_any_value_and_dtype_is_kept() -> None:
    graph = graph_of(
        Node("n", Linear(), ("x", "w"), ("y",)), (2, 3), w=np.eye(3, 4, dtype=np.float32)
    )
    result = ReferenceNetwork(graph, dtype=np.float32).run({"x": np.ones((2, 3))}, ["x", "w", "y"])
    assert list(result) == ["x", "w", "y"]
    assert {array.dtype for array in result.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("feeds", [{}, {"x": np.zeros((3, 2))}])
def test_missing_and_misshapen_inputs_are_refused(feeds: dict[str, np.ndarray]) -> None:
    graph = graph_of(Node("n", Unary("relu"), ("x",), ("y",)), (2, 3))
    with pytest.raises(FrameError, match="'x'"):
        ReferenceNetwork(graph).run(feeds)


def test_single_nodes_can_be_evaluated() -> None:
    node = Node("n", Unary("leaky_relu", (0.1,)), ("x",), ("y",))
    oracle = ReferenceNetwork(graph_of(node, (2,)))
    np.testing.assert_allclose(oracle.evaluate(node, [np.array([-1.0, 2.0])])[0], [-0.1, 2.0])


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_resizing_a_constant_picture_keeps_it(mode: str) -> None:
    op = Resize(mode, "half_pixel", "floor", (1.0, 1.0, 1.7, 0.6), (1, 1, 8, 3))  # type: ignore[arg-type]
    graph = graph_of(Node("n", op, ("x",), ("y",)), (1, 1, 5, 5))
    found = ReferenceNetwork(graph).run({"x": np.full((1, 1, 5, 5), 3.0)})["y"]
    np.testing.assert_allclose(found, 3.0)


def test_large_arguments_do_not_overflow() -> None:
    x = np.array([-800.0, 0.0, 800.0])
    for kind, expected in (("sigmoid", [0, 0.5, 1]), ("softplus", [0, math.log(2), 800])):
        node = Node("n", Unary(kind), ("x",), ("y",))  # type: ignore[arg-type]
        found = ReferenceNetwork(graph_of(node, (3,))).run({"x": x})["y"]
        np.testing.assert_allclose(found, expected, atol=1e-12)
