"""Gradients of every operator of the closed set are those that finite differences find.

A wrong one would give neurons the precision of others, and calibration would still look fine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

import numpy as np
import numpy.typing as npt
import pytest

from mquans.baselines.ort_engine import open_session
from mquans.calibration.gradients import gradient_graph
from mquans.graph import (
    Binary,
    BinaryKind,
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
    ReduceKind,
    Reshape,
    Resize,
    Slice,
    Softmax,
    Transpose,
    Unary,
    UnaryKind,
    ValueType,
    infer,
)
from mquans.onnx import to_onnx
from mquans.runtime.reference.interpreter import ReferenceNetwork

Floats = npt.NDArray[np.float64]
Shape = tuple[int, ...]

STEP = 1e-5
PARAMETERS: dict[str, tuple[float, ...]] = {
    "leaky_relu": (0.1,),
    "elu": (0.7,),
    "clip": (-0.5, 0.8),
    "hard_sigmoid": (0.2, 0.5),
    "selu": (1.67, 1.05),
    "quantize": (-3.0, 3.0),
}
POSITIVE_ONLY = ("log", "sqrt")
TREND = ("floor", "ceil", "round", "quantize")
WITHOUT = ("sign",)


def one_node(
    op: Operator, inputs: Mapping[str, Shape], constants: Mapping[str, npt.ArrayLike] | None = None
) -> Graph:
    """A network of one operator over computed inputs, then constants."""
    arrays = {name: np.array(a, np.float32) for name, a in (constants or {}).items()}
    node = Node("node", op, (*inputs, *arrays), ("y",))
    graph = Graph("one", tuple(inputs), ("y",), [node], dict(arrays))
    graph.types = {name: ValueType(shape) for name, shape in inputs.items()}
    graph.types = infer(graph)
    return graph


def spread(shape: Shape, seed: int, *, positive: bool = False) -> Floats:
    """Values that keep a distance from each other and from 0, so that no kink lies within a step of
    a finite difference."""
    count = int(np.prod(shape))
    ladder = (np.arange(count) + 0.5) / max(count, 1) * 3.1
    if not positive:
        ladder -= 1.6 - 0.003
    return np.random.default_rng(seed).permutation(ladder).reshape(shape)


def differences(graph: Graph, feeds: Mapping[str, Floats], name: str, v: Floats) -> Floats:
    """Gradient of `v . y` by central differences in float64, value by value."""
    oracle = ReferenceNetwork(graph)
    result = np.zeros_like(feeds[name])
    for position in np.ndindex(result.shape):
        found = []
        for sign in (1, -1):
            moved = feeds[name].copy()
            moved[position] += sign * STEP
            found.append(float((oracle.run({**feeds, name: moved})["y"] * v).sum()))
        result[position] = (found[0] - found[1]) / (2 * STEP)
    return result


def check(graph: Graph, feeds: Mapping[str, Floats]) -> None:
    """The gradient at every input, in the float64 oracle against differences and in onnxruntime
    against the oracle."""
    made = gradient_graph(graph, values=graph.inputs)
    v = np.random.default_rng(5).normal(size=graph.shape("y"))
    everything = {**feeds, made.cotangents["y"]: v}
    names = list(made.values.values())
    assert list(made.values) == list(graph.inputs)
    found = ReferenceNetwork(made.tape.graph).run(everything, names)
    for name, gradient in made.values.items():
        expected = differences(graph, feeds, name, v)
        scale = np.abs(expected).max() + 1e-3
        np.testing.assert_allclose(found[gradient], expected, atol=1e-5 * scale, rtol=1e-5)
    model = to_onnx(made.tape.graph, outputs=names).SerializeToString()
    session = open_session(model, model_name="gradient")
    floats = {name: array.astype(np.float32) for name, array in everything.items()}
    for name, array in zip(names, session.run(names, floats), strict=True):
        scale = np.abs(found[name]).max() + 1e-3
        np.testing.assert_allclose(array, found[name], atol=1e-4 * scale, rtol=1e-3)


@pytest.mark.parametrize("kind", [k for k in get_args(UnaryKind) if k not in TREND + WITHOUT])
def test_unary(kind: UnaryKind) -> None:
    """Slopes of all functions, on both sides of their kinks."""
    op = Unary(kind, PARAMETERS.get(kind, ()))
    check(one_node(op, {"x": (3, 7)}), {"x": spread((3, 7), 1, positive=kind in POSITIVE_ONLY)})


@pytest.mark.parametrize("bounds", [(-np.inf, 0.5), (0.0, np.inf), (-np.inf, np.inf)])
def test_clip_open_at_a_side(bounds: tuple[float, float]) -> None:
    """An infinite bound must not turn into 0 * inf."""
    check(one_node(Unary("clip", bounds), {"x": (3, 7)}), {"x": spread((3, 7), 1)})


@pytest.mark.parametrize("kind", TREND)
def test_rounding_has_the_slope_of_its_trend(kind: UnaryKind) -> None:
    """Neurons in front of a rounding would count for nothing otherwise."""
    graph = one_node(Unary(kind, PARAMETERS.get(kind, ())), {"x": (5,)})
    made = gradient_graph(graph, values=("x",))
    v = np.arange(5.0)
    feeds = {"x": spread((5,), 1), made.cotangents["y"]: v}
    [found] = ReferenceNetwork(made.tape.graph).run(feeds, [made.values["x"]]).values()
    np.testing.assert_array_equal(found, v)


@pytest.mark.parametrize("kind", ["sqrt", "abs", "relu", "leaky_relu"])
def test_slopes_at_zero_are_finite(kind: UnaryKind) -> None:
    """Zeros are the most common activation; one infinite slope would spoil every neuron."""
    graph = one_node(Unary(kind, PARAMETERS.get(kind, ())), {"x": (3,)})
    made = gradient_graph(graph, values=("x",))
    feeds = {"x": np.zeros(3), made.cotangents["y"]: np.ones(3)}
    [found] = ReferenceNetwork(made.tape.graph).run(feeds, [made.values["x"]]).values()
    assert np.isfinite(found).all()


@pytest.mark.parametrize("kind", sorted({*get_args(BinaryKind)} - {"equal", "less"}))
@pytest.mark.parametrize("shapes", [((2, 3, 4), (2, 3, 4)), ((2, 3, 4), (3, 1)), ((1, 4), (3, 4))])
def test_binary(kind: BinaryKind, shapes: tuple[Shape, Shape]) -> None:
    """Both operands, also where one is broadcast."""
    if kind == "prelu" and len(shapes[0]) < 3:
        pytest.skip("ONNX broadcasts only the slope")
    a, b = shapes
    feeds = {"a": spread(a, 1, positive=kind == "pow"), "b": spread(b, 2)}
    check(one_node(Binary(kind), {"a": a, "b": b}), feeds)


def test_value_read_twice_by_one_node() -> None:
    """x * x: both operands count."""
    graph = one_node(Unary("neg"), {"x": (4,)})
    graph.nodes[0] = Node("node", Binary("mul"), ("x", "x"), ("y",))
    check(graph, {"x": spread((4,), 3)})


@pytest.mark.parametrize(
    ("op", "x", "weight"),
    [
        (Conv((3, 3), (1, 1), (1, 1, 1, 1), (1, 1)), (1, 3, 5, 6), (4, 3, 3, 3)),
        (Conv((3, 3), (1, 1), (0, 2, 1, 0), (1, 1)), (2, 2, 5, 6), (4, 2, 3, 3)),
        (Conv((3, 3), (1, 1), (2, 2, 2, 2), (2, 2), 2), (1, 4, 5, 5), (6, 2, 3, 3)),
        (Conv((2, 2), (1, 1), (2, 3, 2, 2), (1, 1)), (1, 2, 3, 3), (3, 2, 2, 2)),
        (Conv((3, 3), (2, 2), (1, 1, 1, 1), (1, 1)), (1, 3, 6, 7), (4, 3, 3, 3)),
        (Conv((3, 3), (2, 3), (1, 1, 0, 0), (1, 1), 4), (1, 4, 8, 9), (4, 1, 3, 3)),
        (Conv((1, 1), (3, 2), (0, 0, 0, 0), (1, 1)), (1, 3, 6, 8), (2, 3, 1, 1)),
        (Conv((3,), (1,), (1, 1), (1,)), (1, 3, 7), (2, 3, 3)),
        (Conv((2, 2, 2), (1, 2, 1), (0, 1, 0, 0, 0, 0), (1,) * 3), (1, 2, 3, 4, 3), (2,) * 5),
        (Conv((3, 1), (1, 1), (1, 0, 1, 0), (1, 1), 1, Unary("silu")), (1, 2, 4, 4), (3, 2, 3, 1)),
        (ConvTranspose((2, 2), (2, 2), (0,) * 4, (1, 1), (0, 0), 2), (1, 4, 3, 4), (4, 1, 2, 2)),
        (ConvTranspose((3, 3), (2, 2), (1, 0, 1, 1), (1, 1), (1, 1)), (1, 2, 3, 3), (2, 3, 3, 3)),
        (ConvTranspose((3, 3), (1, 2), (0, 1, 2, 0), (2, 2), (0, 1)), (1, 2, 3, 3), (2, 2, 3, 3)),
        (ConvTranspose((2, 2), (2, 2), (0, 1, 0, 0), (3, 3), (1, 0)), (1, 2, 3, 3), (2, 2, 2, 2)),
        (ConvTranspose((3,), (2,), (1, 1), (1,), (0,), 1, Unary("relu")), (1, 3, 4), (3, 2, 3)),
    ],
)  # fmt: skip
def test_convolution(op: Conv | ConvTranspose, x: Shape, weight: Shape) -> None:
    """Strides that leave rows over, uneven pads, dilation, groups, fused activations."""
    constants = {"w": np.random.default_rng(3).normal(size=weight)}
    check(one_node(op, {"x": x}, constants), {"x": spread(x, 4)})


def test_linear() -> None:
    """With a bias and an activation."""
    rng = np.random.default_rng(3)
    constants = {"w": rng.normal(size=(5, 3)), "b": rng.normal(size=3)}
    graph = one_node(Linear(Unary("tanh")), {"x": (2, 4, 5)}, constants)
    check(graph, {"x": spread((2, 4, 5), 1)})


@pytest.mark.parametrize(
    ("a", "b"),
    [((2, 3), (3, 4)), ((2, 2, 3), (2, 3, 4)), ((3, 2, 3), (3, 1)), ((1, 2, 3), (4, 3, 2))],
)
def test_matmul(a: Shape, b: Shape) -> None:
    """Both operands, with leading axes broadcast."""
    check(one_node(MatMul(), {"a": a, "b": b}), {"a": spread(a, 1), "b": spread(b, 2)})


@pytest.mark.parametrize(
    ("op", "x"),
    [
        (Pool("max", (2, 2), (2, 2), (0, 0, 0, 0), (1, 1)), (1, 2, 4, 5)),
        (Pool("max", (3, 3), (2, 2), (1, 1, 1, 1), (1, 1)), (2, 2, 5, 6)),
        (Pool("max", (3, 3), (2, 2), (0, 0, 0, 0), (1, 1), True), (1, 2, 6, 6)),
        (Pool("max", (2, 3), (1, 1), (0, 1, 1, 1), (2, 1)), (1, 2, 5, 4)),
        (Pool("average", (2, 2), (2, 2), (0, 0, 0, 0), (1, 1)), (1, 2, 4, 5)),
        (Pool("average", (3, 3), (1, 1), (1, 1, 1, 1), (1, 1)), (1, 2, 4, 4)),
        (Pool("average", (3, 3), (2, 2), (1, 1, 1, 1), (1, 1), True, True), (1, 2, 6, 6)),
        (Pool("average", (3, 3), (2, 2), (0, 0, 1, 1), (1, 1), True, False), (1, 2, 6, 6)),
        (Pool("average", (3,), (2,), (1, 1), (1,), False, True), (2, 2, 7)),
    ],
)
def test_pool(op: Pool, x: Shape) -> None:
    """Windows that overlap, are cut off, or leave inputs over."""
    check(one_node(op, {"x": x}), {"x": spread(x, 1)})


def test_equal_values_share_the_gradient_of_a_maximum() -> None:
    """Behind a ReLU whole windows are 0; what their parts get must add up to what comes in."""
    op = Pool("max", (2, 2), (2, 2), (0, 0, 0, 0), (1, 1))
    made = gradient_graph(one_node(op, {"x": (1, 1, 2, 2)}), values=("x",))
    x = np.array([[[[0.0, 1.0], [1.0, 0.0]]]])
    feeds = {"x": x, made.cotangents["y"]: np.full((1, 1, 1, 1), 3.0)}
    [found] = ReferenceNetwork(made.tape.graph).run(feeds, [made.values["x"]]).values()
    np.testing.assert_array_equal(found[0, 0], [[0, 1.5], [1.5, 0]])


@pytest.mark.parametrize("kind", get_args(ReduceKind))
@pytest.mark.parametrize(("axes", "keepdims"), [((1,), True), ((0, 2), False), ((0, 1, 2), False)])
def test_reduce(kind: ReduceKind, axes: tuple[int, ...], keepdims: bool) -> None:
    """All kinds, with and without the reduced axes."""
    check(one_node(Reduce(kind, axes, keepdims), {"x": (2, 3, 2)}), {"x": spread((2, 3, 2), 1)})


@pytest.mark.parametrize("zeros", [1, 2])
def test_product_with_zeros(zeros: int) -> None:
    """One zero leaves the product of the others as its slope; of two, nothing is left."""
    x = spread((2, 4), 1)
    x[0, :zeros] = 0.0
    check(one_node(Reduce("prod", (1,), True), {"x": (2, 4)}), {"x": x})


@pytest.mark.parametrize("coordinates", ["half_pixel", "align_corners", "asymmetric"])
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("size", [(6, 8), (2, 3), (5, 7)])
def test_resize(mode: str, coordinates: str, size: tuple[int, int]) -> None:
    """Enlarging and shrinking, also by fractions."""
    scales = (1.0, 1.0, size[0] / 3, size[1] / 4)
    op = Resize(mode, coordinates, "round_prefer_floor", scales, (1, 2, *size))  # type: ignore[arg-type]
    check(one_node(op, {"x": (1, 2, 3, 4)}), {"x": spread((1, 2, 3, 4), 1)})


@pytest.mark.parametrize(
    ("op", "x"),
    [
        (Slice((0, 1, 0), (2, 3, 4), (1, 1, 1)), (2, 3, 4)),
        (Slice((0, 1, 3), (2, 6, -1), (1, 2, -1)), (2, 6, 4)),
        (Gather(1, (2, 0)), (2, 4, 3)),
        (Gather(0, (1, 0)), (2, 4, 3)),
        (Gather(1, (2, 0, 2, 2)), (2, 4, 3)),
        (Pad((0, 1, 2, 0, 0, 1)), (2, 3, 4)),
        (Pad((0, 1, 2, 0, 2, 1), "reflect"), (2, 3, 4)),
        (Pad((0, 1, 2, 0, 2, 1), "edge"), (2, 3, 4)),
        (Reshape((4, 6)), (2, 3, 4)),
        (Transpose((2, 0, 1)), (2, 3, 4)),
        (Expand((3, 2, 3, 4)), (2, 1, 4)),
        (Softmax(1), (2, 3, 4)),
        (Softmax(2, log=True), (2, 3, 4)),
    ],
)
def test_movement_and_softmax(op: Operator, x: Shape) -> None:
    """Values that are dropped, repeated, reversed or mixed."""
    check(one_node(op, {"x": x}), {"x": spread(x, 1)})


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_concat(axis: int) -> None:
    """Every input gets its own part."""
    shapes: Sequence[list[int]] = [[2, 3, 4], [2, 3, 4]]
    shapes[1][axis] += 1
    inputs = {f"x{i}": tuple(shape) for i, shape in enumerate(shapes)}
    check(one_node(Concat(axis), inputs), {n: spread(s, 1) for n, s in inputs.items()})


@pytest.mark.parametrize("axis", [1, 2])
def test_layer_norm(axis: int) -> None:
    """Mean and variance move with the input."""
    rng = np.random.default_rng(1)
    shape = (2, 3, 4)[axis:]
    constants = {"scale": rng.normal(size=shape), "bias": rng.normal(size=shape)}
    graph = one_node(LayerNorm(axis, 1e-3), {"x": (2, 3, 4)}, constants)
    check(graph, {"x": spread((2, 3, 4), 1)})
