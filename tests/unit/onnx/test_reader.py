"""Shapes must be fixed once, by the file or by the user, with a message when they are not."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from mquans.errors import ModelError
from mquans.onnx import import_model, read_model, to_onnx
from mquans.plan import NetworkOptions
from mquans.runtime.reference.interpreter import ReferenceNetwork

from .conftest import Check, build, kinds, op, relative_error, run_onnxruntime, values


def convolution(*shape: int | str) -> onnx.ModelProto:
    return build([op("Conv", "x w", "y")], {"x": shape}, ["y"], {"w": values(1, 4, 3, 3, 3)})


def test_the_batch_is_one_unless_given() -> None:
    graph = import_model(read_model(convolution("n", 3, 8, 9)))
    assert graph.shape("x") == (1, 3, 8, 9)
    graph = import_model(read_model(convolution("n", 3, 8, 9)), NetworkOptions({"x": (2, 3, 8, 9)}))
    assert graph.shape("y") == (2, 4, 6, 7)


def test_a_dynamic_size_that_is_not_given_is_asked_for() -> None:
    with pytest.raises(ModelError, match=r"'x' \[1,3,\?,\?\].*--input-shape x:1,3,H,W"):
        import_model(read_model(convolution("n", 3, "h", "w")))


def test_a_declared_shape_can_be_overridden(check: Check) -> None:
    """CenterFace declares [10, 3, 32, 32] and stale sizes for its inner values and outputs."""
    model = convolution(10, 3, 32, 32)
    model.graph.output[0].CopyFrom(
        onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [10, 4, 30, 30])
    )
    graph = import_model(read_model(model), NetworkOptions({"x": (1, 3, 8, 8)}))
    assert graph.shape("y") == (1, 4, 6, 6)
    assert import_model(read_model(model)).shape("y") == (10, 4, 30, 30)


@pytest.mark.parametrize(
    ("shapes", "text"),
    [
        ({"z": (1, 3, 8, 8)}, "no input 'z'; its inputs are 'x'"),
        ({"x": (3, 8, 8)}, "has 4 dimensions"),
        ({"x": (1, 3, 0, 8)}, "is empty"),
        ({"x": (1, 4, 8, 8)}, r"node 'y'.*4 channels meet 3"),
        ({"x": (1, 3, 2, 8)}, "smaller than the kernel"),
    ],
)
def test_shapes_that_cannot_be_are_refused(shapes: dict[str, tuple[int, ...]], text: str) -> None:
    with pytest.raises(ModelError, match=text):
        import_model(read_model(convolution("n", 3, "h", "w")), NetworkOptions(shapes))


def test_a_baked_in_size_is_explained() -> None:
    model = build([op("Reshape", "x s", "y")], {"x": (1, 3, 4, 4)}, ["y"], {"s": np.array([1, 48])})
    with pytest.raises(ModelError, match="may only allow the declared one"):
        import_model(read_model(model), NetworkOptions({"x": (1, 3, 8, 8)}))


def test_nodes_keep_their_names_and_values_theirs() -> None:
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w"], ["h"], name="stem"),
        onnx.helper.make_node("Relu", ["h"], ["r"], name="twice"),
        onnx.helper.make_node("Conv", ["r", "v"], ["y"], name="twice"),
    ]
    constants = {"w": values(1, 4, 3, 3, 3), "v": values(2, 2, 4, 1, 1)}
    graph = import_model(read_model(build(nodes, {"x": (1, 3, 8, 8)}, ["y"], constants)))
    assert [(node.name, node.outputs) for node in graph.nodes] == [("stem", ("r",)), ("y", ("y",))]


@pytest.mark.parametrize("half", [onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16])
def test_half_precision_models_run_in_float32(half: int) -> None:
    weight = values(1, 4, 3)
    nodes = [
        op("MatMul", "x w", "h"),
        op("Cast", "h", "f", to=onnx.TensorProto.FLOAT),
        op("Relu", "f", "r"),
        op("Cast", "r", "y", to=half),
    ]
    model = build(nodes, {"x": (2, 4)}, ["y"])
    model.graph.initializer.append(
        onnx.helper.make_tensor("w", half, weight.shape, weight.reshape(-1).tolist())
    )
    for value in [*model.graph.input]:
        value.type.tensor_type.elem_type = half
    graph = import_model(read_model(model))
    assert kinds(graph) == ["Linear"]
    assert graph.types["x"].dtype == graph.types["y"].dtype == "float32"
    x = values(2, 2, 4)
    expected = np.maximum(x @ weight, 0)
    assert relative_error(ReferenceNetwork(graph).run({"x": x})["y"], expected) < 1e-4


def test_double_precision_is_computed_in_float32() -> None:
    """Tracing Python numbers leaves casts to double in many exports."""
    nodes = [
        op("Cast", "x", "d", to=onnx.TensorProto.DOUBLE),
        op("Mul", "d k", "m"),
        op("CumSum", "m axis", "s"),
        op("Cast", "s", "t", to=onnx.TensorProto.FLOAT),
        op("Cast", "m", "f", to=onnx.TensorProto.FLOAT),
        op("Add", "f t", "y"),
    ]
    model = build(nodes, {"x": (2, 3)}, ["y"], {"axis": np.array(1)})
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1.5, 2.0, 0.1]), "k"))
    graph = import_model(read_model(model))
    assert kinds(graph) == ["Binary:mul", "Fallback", "Binary:add"]
    x = values(1, 2, 3)
    expected = run_onnxruntime(model, {"x": x}, ["y"])[0]
    assert relative_error(ReferenceNetwork(graph).run({"x": x})["y"], expected) < 1e-12
    written = run_onnxruntime(to_onnx(graph), {"x": x}, ["y"])[0]
    assert relative_error(written, expected) < 1e-12


def test_double_inputs_are_fed_as_float32() -> None:
    model = build(
        [op("MatMul", "x w", "h"), op("ArgMax", "h", "i", axis=1)], {"x": (2, 3)}, ["h", "i"]
    )
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    weight = values(1, 3, 4).astype(np.float64)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    graph = import_model(read_model(model))
    assert kinds(graph) == ["Linear", "Fallback"]
    x = values(2, 2, 3)
    found = ReferenceNetwork(graph).run({"x": x})
    expected = run_onnxruntime(model, {"x": x.astype(np.float64)}, ["h", "i"])
    assert relative_error(found["h"], expected[0]) < 1e-12
    np.testing.assert_array_equal(found["i"], expected[1])


def test_local_functions_are_inlined() -> None:
    """PyTorch's newer exporter may write modules as functions."""
    model = build([op("Double", "x", "h"), op("Relu", "h", "y")], {"x": (2, 3)}, ["y"])
    model.graph.node[0].domain = "local"
    function = onnx.helper.make_function(
        "local", "Double", ["a"], ["b"], [op("Add", "a a", "b")],
        [onnx.helper.make_opsetid("", 17)],
    )  # fmt: skip
    model.functions.append(function)
    model.opset_import.append(onnx.helper.make_opsetid("local", 1))
    graph = import_model(read_model(model))
    assert kinds(graph) == ["Binary:add", "Unary:relu"]
    x = values(1, 2, 3)
    expected = run_onnxruntime(model, {"x": x}, ["y"])[0]
    assert relative_error(ReferenceNetwork(graph).run({"x": x})["y"], expected) < 1e-12
