"""What each method of criticality is good for, and where it gives up."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mquans.calibration.criticality import METHODS, closed_form, criticality
from mquans.errors import MquansError
from mquans.graph import (
    Binary,
    Concat,
    Conv,
    ConvTranspose,
    Expand,
    Gather,
    Graph,
    LayerNorm,
    Linear,
    MatMul,
    Node,
    Operator,
    Pad,
    Pool,
    Reduce,
    Reshape,
    Resize,
    Slice,
    Softmax,
    Transpose,
    Unary,
    infer,
)
from mquans.onnx import import_model, read_model
from mquans.runtime.reference.interpreter import ReferenceNetwork

from .criticality_networks import Floats, Step, chain

X = (1, 3, 4, 4)
RNG = np.random.default_rng(0)
POINT = ((1, 1), (1, 1), (0, 0, 0, 0), (1, 1))
UP = ConvTranspose((2, 2), (2, 2), (0, 0, 0, 0), (1, 1), (0, 0))


def probe() -> Step:
    """A layer with one weight per neuron: between it and the output, every path is unique."""
    return "probe", Conv(*POINT, 3), {"w": RNG.normal(size=(3, 1, 1, 1))}


def jacobian(graph: Graph) -> Floats:
    """Of a network without biases that is linear: [outputs, inputs]."""
    oracle, size = ReferenceNetwork(graph), int(np.prod(graph.shape("x")))
    basis = np.eye(size).reshape(size, *graph.shape("x"))
    [output] = graph.outputs
    return np.stack([oracle.run({"x": x})[output].reshape(-1) for x in basis], axis=1)


@pytest.mark.parametrize(
    "step",
    [
        ("conv", Conv((3, 3), (1, 1), (1, 1, 1, 1), (1, 1)), {"w": RNG.normal(size=(2, 3, 3, 3))}),
        ("up", UP, {"w": RNG.normal(size=(3, 2, 2, 2))}),
        ("linear", Linear(), {"w": RNG.normal(size=(4, 5))}),
        ("matmul", MatMul(), {"w": RNG.normal(size=(3, 4, 2))}),
        ("scale", Binary("mul"), {"c": RNG.normal(size=(3, 1, 1))}),
        ("divide", Binary("div"), {"c": RNG.normal(size=(3, 1, 1))}),
        ("shift", Binary("sub"), {"c": np.zeros((3, 1, 1))}),
        ("average", Pool("average", (2, 2), (2, 2), (0,) * 4, (1, 1)), {}),
        ("mean", Reduce("mean", (2, 3), False), {}),
        ("sum", Reduce("sum", (1,), True), {}),
        ("bilinear", Resize("linear", "half_pixel", "floor", (1, 1, 2, 1.5), (1, 3, 8, 6)), {}),
        ("nearest", Resize("nearest", "asymmetric", "floor", (1, 1, 2, 2), (1, 3, 8, 8)), {}),
        ("reshape", Reshape((3, 16)), {}),
        ("transpose", Transpose((0, 2, 3, 1)), {}),
        ("slice", Slice((0, 1, 3, 0), (1, 3, -1, 4), (1, 1, -1, 2)), {}),
        ("gather", Gather(1, (2, 0, 0)), {}),
        ("pad", Pad((0, 0, 1, 1, 0, 0, 1, 1), "edge"), {}),
        ("expand", Expand((2, 3, 4, 4)), {}),
    ],
    ids=lambda step: step[0],
)  # fmt: skip
def test_closed_form_is_exact_where_paths_are_unique(step: Step) -> None:
    """The recursion over squared weights is then the square of the Jacobian itself."""
    graph = chain(X, probe(), step)
    expected = np.square(jacobian(graph)).mean(axis=0).reshape(3, -1).sum(axis=1)
    np.testing.assert_allclose(closed_form(graph)["probe"], expected, rtol=1e-4)


@pytest.mark.parametrize(
    "step",
    [
        *[(k, Unary(k), {}) for k in ("relu", "silu", "sigmoid", "exp", "sqrt", "round", "abs")],
        ("clip", Unary("clip", (0.0, 6.0)), {}),
        *[(k, Reduce(k, (1,), True), {}) for k in ("max", "prod", "l1", "l2", "sum_square")],
        ("max pool", Pool("max", (2, 2), (2, 2), (0,) * 4, (1, 1)), {}),
        ("softmax", Softmax(1), {}),
        ("layer norm", LayerNorm(3, 1e-5), {"s": np.ones(4), "b": np.zeros(4)}),
        *[(k, Binary(k), {"c": np.full((3, 1, 1), 0.5)}) for k in ("max", "min", "pow", "prelu")],
    ],
    ids=lambda step: step[0],
)  # fmt: skip
def test_closed_form_passes_every_operator(step: tuple[str, Operator, dict[str, Floats]]) -> None:
    """Slopes without data are guesses, but they must be neither 0 nor infinite."""
    found = closed_form(chain(X, probe(), step))["probe"]
    assert np.isfinite(found).all()
    assert (found > 0).all()


def test_closed_form_passes_computed_operands() -> None:
    """Gates, attention, residual sums and concatenations of two branches."""
    a, b = Node("a", Conv(*POINT), ("x", "w"), ("a",)), Node("b", Conv(*POINT), ("x", "w"), ("b",))
    nodes = [
        a,
        b,
        Node("gate", Binary("mul"), ("a", "b"), ("m",)),
        Node("attention", MatMul(), ("m", "b"), ("n",)),
        Node("most", Binary("max"), ("n", "a"), ("o",)),
        Node("both", Concat(1), ("o", "fixed", "b"), ("y",)),
    ]
    constants = {
        "w": RNG.normal(size=(3, 3, 1, 1)).astype(np.float32),
        "fixed": np.ones((1, 1, 4, 4), np.float32),
    }
    graph = Graph("branches", ("x",), ("y",), nodes, dict(constants), chain(X, probe()).types)
    graph.types = infer(graph)
    found = closed_form(graph)
    assert (found["a"] > 0).all()
    assert (found["b"] > 0).all()


def test_closed_form_is_bounded_by_the_frames() -> None:
    """Weights that look as if they blew errors up, before a saturated function, must not make one
    layer infinitely important."""
    graph = chain(
        X,
        probe(),
        ("big", Conv(*POINT), {"w": np.full((3, 3, 1, 1), 1e4)}),
        ("squash", Unary("tanh"), {}),
    )
    frames = [{"x": RNG.normal(size=X).astype(np.float32)} for _ in range(3)]
    variance = np.stack([f["x"] for f in frames]).var(axis=(0, 1, 3, 4))
    found = closed_form(graph, frames)["probe"]
    assert float((found * variance).sum()) == pytest.approx(1.0, rel=1e-3)
    assert closed_form(graph)["probe"].sum() > 1e6


@pytest.fixture
def fallback() -> Graph:
    """conv `a` -> CumSum, which only onnxruntime can run -> conv `b`."""
    arrays = {
        "wa": RNG.normal(size=(3, 3, 1, 1)).astype(np.float32),
        "axis": np.array(3),
        "wb": RNG.normal(size=(2, 3, 1, 1)).astype(np.float32),
    }
    proto = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "wa"], ["p"], "a"),
            helper.make_node("CumSum", ["p", "axis"], ["q"], "sum"),
            helper.make_node("Conv", ["q", "wb"], ["y"], "b"),
        ],
        "fallback",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, X)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 2, 4, 4])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    model: onnx.ModelProto = helper.make_model(proto, opset_imports=opsets, ir_version=8)
    return import_model(read_model(model))


@pytest.mark.parametrize("method", METHODS)
def test_layers_before_an_fallback_are_not_forgotten(fallback: Graph, method: str) -> None:
    """A criticality of 0 would give them the fewest bits."""
    frames = [{"x": RNG.normal(size=X).astype(np.float32)} for _ in range(4)]
    found = criticality(fallback, frames, method=method)
    assert (found["a"] > 0).all()
    assert (found["b"] > 0).all()


def test_a_task_loss_cannot_be_followed_through_an_fallback(fallback: Graph) -> None:
    """It is said, with what to do, instead of a 0."""
    frames = [{"x": np.ones(X, np.float32)}]
    with pytest.raises(MquansError, match="perturb"):
        criticality(fallback, frames, loss=lambda outputs, label: {})
