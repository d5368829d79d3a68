"""Constants, shape arithmetic and constant branches must be gone before the engine sees a graph."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from mquans.errors import UnsupportedOperatorError
from mquans.onnx import import_model, read_model
from mquans.onnx.folding import evaluate, is_foldable

from .conftest import Check, build, kinds, op, values

FLOAT = onnx.TensorProto.FLOAT


def branch(name: str, nodes: list[onnx.NodeProto], output: str) -> onnx.GraphProto:
    return onnx.helper.make_graph(nodes, name, [], [onnx.ValueInfoProto(name=output)])


def test_weights_computed_from_constants_are_folded(check: Check) -> None:
    nodes = [op("ConstantOfShape", "s", "w"), op("Add", "w one", "u"), op("MatMul", "x u", "y")]
    constants = {"s": np.array([4, 3]), "one": np.float32(1)}
    assert kinds(check(build(nodes, {"x": (2, 4)}, ["y"], constants))) == ["Linear"]


@pytest.mark.parametrize(
    "attribute",
    [{"value_float": 2.0}, {"value_floats": [1.0, 2.0, 3.0]}, {"value": None}],
)
def test_constant_nodes_of_all_kinds(check: Check, attribute: dict[str, object]) -> None:
    if "value" in attribute:
        attribute = {"value": onnx.numpy_helper.from_array(np.float32([3, 2, 1]))}
    nodes = [op("Constant", "", "c", **attribute), op("Mul", "x c", "y")]
    check(build(nodes, {"x": (2, 3)}, ["y"]))


def test_shape_with_bounds_and_size(check: Check) -> None:
    nodes = [
        op("Shape", "x", "s", start=1, end=-1),
        op("Size", "x", "n"),
        op("Cast", "n", "f", to=FLOAT),
        op("Expand", "f s", "e"),
        op("ReduceSum", "x", "r", keepdims=0),
        op("Mul", "r e", "y"),
    ]
    check(build(nodes, {"x": (2, 3, 4)}, ["y"], opset=15))


@pytest.mark.parametrize("condition", [True, False])
def test_a_constant_if_is_inlined(check: Check, condition: bool) -> None:
    """PyTorch's squeeze exports as an If on the shape."""
    yes = branch("yes", [op("Squeeze", "h axes", "s")], "s")
    no = branch("no", [op("Identity", "h", "s")], "s")
    nodes = [
        op("Relu", "x", "h"),
        op("If", "c", "i", then_branch=yes, else_branch=no),
        op("Neg", "i", "y"),
    ]
    constants = {"c": np.array(condition), "axes": np.array([1])}
    graph = check(build(nodes, {"x": (2, 1, 4)}, ["y"], constants))
    assert "Fallback" not in kinds(graph)


def test_names_inside_inlined_branches_do_not_clash(check: Check) -> None:
    inner = branch("inner", [op("Neg", "t", "u"), op("Add", "u h", "v")], "v")
    first = branch(
        "first",
        [op("Relu", "h", "t"), op("If", "c", "r", then_branch=inner, else_branch=inner)],
        "r",
    )
    second = branch("second", [op("Abs", "h", "t")], "t")
    nodes = [
        op("Neg", "x", "h"),
        op("If", "c", "a", then_branch=first, else_branch=second),
        op("If", "d", "b", then_branch=first, else_branch=second),
        op("Sub", "a b", "y"),
    ]
    constants = {"c": np.array(True), "d": np.array(False)}
    check(build(nodes, {"x": (2, 4)}, ["y"], constants))


def test_a_branch_that_returns_a_constant_or_a_value_from_outside(check: Check) -> None:
    outside = branch("outside", [op("Identity", "h", "o")], "o")
    own = onnx.helper.make_graph(
        [], "own", [], [onnx.ValueInfoProto(name="k")],
        [onnx.numpy_helper.from_array(values(1, 2, 4), "k")],
    )  # fmt: skip
    nodes = [
        op("Relu", "x", "h"),
        op("If", "c", "a", then_branch=outside, else_branch=own),
        op("If", "d", "b", then_branch=outside, else_branch=own),
        op("Sub", "a b", "y"),
    ]
    constants = {"c": np.array(True), "d": np.array(False)}
    check(build(nodes, {"x": (2, 4)}, ["y"], constants))


def test_random_nodes_are_never_folded() -> None:
    assert not is_foldable(op("RandomNormal", "", "r", shape=[2]), {})
    assert is_foldable(op("Relu", "c", "y"), {"c"})


def test_a_constant_operator_that_nobody_knows_is_named() -> None:
    node = onnx.helper.make_node("Frobnicate", ["c"], ["y"], domain="com.example", name="frob")
    with pytest.raises(UnsupportedOperatorError, match=r"frob.*Frobnicate"):
        evaluate(node, {"c": values(1, 2)}, {"ai.onnx": 17, "com.example": 1})


def test_constant_outputs_are_kept(check: Check) -> None:
    """Some detectors return their anchors."""
    nodes = [op("Relu", "x", "y"), op("Add", "c c", "anchors")]
    graph = check(build(nodes, {"x": (2, 3)}, ["y", "anchors"], {"c": values(1, 2)}))
    assert graph.outputs == ("y", "anchors")


def test_an_initializer_listed_as_input_is_a_weight(check: Check) -> None:
    model = build(
        [op("MatMul", "x w", "y")], {"x": (2, 4), "w": (4, 3)}, ["y"], {"w": values(1, 4, 3)}
    )
    graph = import_model(read_model(model))
    assert graph.inputs == ("x",)
    check(model)


@pytest.mark.parametrize("kind", [onnx.TensorProto.INT4, onnx.TensorProto.UINT4])
def test_large_weights_of_four_bits_are_dequantized(kind: int) -> None:
    """As onnxruntime's weight-only quantizer writes them; numpy has no such type."""
    rng = np.random.default_rng(0)
    low, high = (-8, 8) if kind == onnx.TensorProto.INT4 else (0, 16)
    codes = rng.integers(low, high, (64, 32))
    scale = rng.uniform(0.1, 1, (4, 32)).astype(np.float32)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind)
    constants = {"w": codes.astype(dtype), "s": scale}
    node = onnx.helper.make_node("DequantizeLinear", ["w", "s"], ["y"], axis=0, block_size=16)
    (found,) = evaluate(node, constants, {"": 21})
    np.testing.assert_array_equal(found, (codes * np.repeat(scale, 16, axis=0)).astype(np.float32))
