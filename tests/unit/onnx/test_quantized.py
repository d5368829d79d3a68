"""Quantized networks are what people deploy on CPUs: they must run in the engine, as themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnxruntime.quantization import QuantType

from mquans.graph import Graph
from mquans.onnx import import_model, read_model, to_onnx
from mquans.runtime.reference.interpreter import ReferenceNetwork

from .conftest import build, kinds, op, relative_error, run_onnxruntime, values
from .quantized_networks import FORMS, SHAPE, clip, declared, dynamic, static

U8, I8 = onnx.TensorProto.UINT8, onnx.TensorProto.INT8


def imported(model: bytes | onnx.ModelProto) -> Graph:
    graph = import_model(read_model(model))
    assert kinds(graph).count("Fallback") == 0
    return graph


def agrees(model: bytes | onnx.ModelProto, feeds: dict[str, np.ndarray], within: float) -> Graph:
    """Against onnxruntime without optimisations. A value may lie so near the middle between two
    steps that it is rounded the other way: a few steps may differ, by one."""
    proto = onnx.load_model_from_string(model) if isinstance(model, bytes) else model
    graph = imported(model)
    expected = run_onnxruntime(proto, feeds, graph.outputs)
    found = ReferenceNetwork(graph).run(feeds)
    again = run_onnxruntime(to_onnx(graph), feeds, graph.outputs)
    for name, reference, written in zip(graph.outputs, expected, again, strict=True):
        assert relative_error(found[name], reference) < within
        assert relative_error(written, reference) < within
    return graph


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["convolutions", "tokens"])
def test_static_quantization(name: str, form: str) -> None:
    shape = SHAPE if name == "convolutions" else (1, 20, 16)
    graph = agrees(static(name, form), {"x": clip(shape)[-1]}, within=1e-3)
    assert any("quantize" in str(node.op) for node in graph.nodes)


def test_scales_and_roundings_are_part_of_the_layers() -> None:
    """A layer between two quantizations is one step: no product is left before or behind it."""
    graph = imported(static("convolutions", "pairs"))
    layers = [node for node in graph.reuse_layers() if node.name.startswith("Conv")]
    for node in graph.nodes[1:]:
        readers = graph.consumers().get(node.outputs[0], [])
        if kinds(graph)[graph.nodes.index(node)] in ("Binary:mul", "Binary:div"):
            assert not any(reader.is_reuse and "Conv" in str(reader.op) for reader in readers)
    assert all(layer.op.activation is not None for layer in layers)  # type: ignore[union-attr]


@pytest.mark.parametrize("weights", [QuantType.QInt8, QuantType.QUInt8])
@pytest.mark.parametrize("name", ["convolutions", "tokens", "memory"])
def test_dynamic_quantization_is_read_without_its_roundings(name: str, weights: QuantType) -> None:
    """Its steps differ from frame to frame, which would leave nothing to reuse. Results lie where
    its own float version's do, nearer than steps of 8 bits are wide."""
    shape = {"convolutions": SHAPE, "tokens": (1, 20, 16), "memory": (20, 1, 16)}[name]
    graph = agrees(dynamic(name, weights), {"x": clip(shape)[-1]}, within=3e-3)
    assert not any("quantize" in str(node.op) for node in graph.nodes)


def with_integer_bias(rounding: str, product: str, *more: onnx.NodeProto) -> onnx.ModelProto:
    """As quantizers of onnxruntime wrote it up to 1.4: the bias is brought to the steps of the sum
    in every frame."""
    convolves = product == "ConvInteger"
    nodes = [
        op("DynamicQuantizeLinear", "x", "q xs xz"),
        op("Mul", "xs ws", "unit"),
        op("Div", "b unit", "steps"),
        op(rounding, "steps", "whole"),
        op("Cast", "whole", "i", to=onnx.TensorProto.INT32),
        op(product, "q w xz wz", "p", **({"pads": [1] * 4} if convolves else {})),
        *([op("Reshape", "i column", "r")] if convolves else [op("Identity", "i", "r")]),
        op("Add", "p r", "t") if convolves else op("Add", "r p", "t"),
        op("Cast", "t", "f", to=onnx.TensorProto.FLOAT),
        op("Mul", "f unit", "y"),
        *more,
    ]
    rng = np.random.default_rng(0)
    shape, inputs = ((4, 3, 3, 3), SHAPE) if convolves else ((3, 4), (5, 3))
    constants = {
        "w": rng.integers(-9, 9, shape).astype(np.int8), "wz": np.int8(0), "ws": np.float32(0.05),
        "b": np.float32([0.04, -0.03, 0.02, 0.3]), "column": np.array([1, 4, 1, 1]),
    }  # fmt: skip
    outputs = ["y", *(output for node in more for output in node.output)]
    return declared(build(nodes, {"x": inputs}, outputs, constants))


@pytest.mark.parametrize("product", ["ConvInteger", "MatMulInteger"])
@pytest.mark.parametrize("rounding", ["Floor", "Ceil", "Round"])
def test_biases_of_dynamic_sums_keep_what_is_less_than_a_step(rounding: str, product: str) -> None:
    """Steps of sums differ from frame to frame, and are read without; a bias rounded to steps that
    nothing has would be lost here."""
    x = clip(SHAPE)[-1] if product == "ConvInteger" else values(1, 5, 3)
    graph = agrees(with_integer_bias(rounding, product), {"x": x / 10}, within=2e-4)
    assert len(graph.nodes) == 1, "the bias and both scales are part of the layer"


@pytest.mark.parametrize(
    "reader",
    [
        op("Identity", "t", "seen"),
        op("CumSum", "p axis", "seen"),
        op("Identity", "xs", "seen"),
        op("Greater", "unit half", "seen"),
    ],
    ids=["sum and bias", "sum", "scale", "unit"],
)
def test_integers_that_are_looked_at_are_those_of_the_model(reader: onnx.NodeProto) -> None:
    """Read without their roundings they would be other numbers."""
    model = with_integer_bias("Floor", "ConvInteger", reader)
    for name, array in (("axis", np.array(1)), ("half", np.float32(0.5))):
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    model.graph.output[1].ClearField("type")
    graph = import_model(read_model(onnx.shape_inference.infer_shapes(model)))
    feeds = {"x": clip(SHAPE)[-1]}
    expected = run_onnxruntime(model, feeds, ["y", "seen"])
    found = ReferenceNetwork(graph).run(feeds)
    assert relative_error(found["y"], expected[0]) < 1e-6
    np.testing.assert_allclose(found["seen"], expected[1], rtol=1e-6)


def test_sixteen_bits_are_cut_off_and_not_rounded() -> None:
    """Codes are about as fine themselves."""
    model = static("convolutions", "pairs", activation_type=QuantType.QInt16)
    graph = agrees(model, {"x": clip(SHAPE)[-1]}, within=1e-6)
    assert not any("quantize" in str(node.op) for node in graph.nodes)


def quantized(inputs: list[Any], nodes: list[Any], outputs: list[Any], **constants: Any) -> bytes:
    graph = onnx.helper.make_graph(
        nodes,
        "codes",
        [onnx.helper.make_tensor_value_info(*value) for value in inputs],
        [onnx.helper.make_tensor_value_info(*value, None) for value in outputs],
        [onnx.numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()],
    )
    imports = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("com.microsoft", 1)]
    return bytes(
        onnx.helper.make_model(graph, opset_imports=imports, ir_version=8).SerializeToString()
    )


SCALES = {
    "xs": np.float32(0.5), "xz": np.uint8(128), "ys": np.float32(0.7), "yz": np.uint8(100),
    "ws": np.float32(0.02), "wz": np.int8(3),
}  # fmt: skip


def test_codes_go_in_and_come_out_as_codes() -> None:
    """TFLite's networks have integers at both ends."""
    nodes = [op("QLinearConv", "x xs xz w ws wz ys yz b", "y", pads=[1] * 4)]
    weight = np.random.default_rng(0).integers(-99, 99, (4, 3, 3, 3)).astype(np.int8)
    bias = np.arange(4, dtype=np.int32) * 300
    model = quantized([("x", U8, [1, 3, 9, 9])], nodes, [("y", U8)], w=weight, b=bias, **SCALES)
    graph = imported(model)
    assert (graph.dtype("x"), graph.dtype("y")) == ("uint8", "uint8")
    x = np.random.default_rng(1).integers(0, 256, (1, 3, 9, 9)).astype(np.uint8)
    [expected] = run_onnxruntime(onnx.load_model_from_string(model), {"x": x}, ["y"])
    found = ReferenceNetwork(graph).run({"x": x})["y"]
    assert np.abs(found - expected).max() <= 1
    assert (found != expected).mean() < 0.01


def test_a_product_of_matrices_with_a_bias() -> None:
    nodes = [
        op("QuantizeLinear", "x xs xz", "q"),
        op("QGemm", "q xs xz w ws wz b ys yz", "g", transB=1, domain="com.microsoft"),
        op("DequantizeLinear", "g ys yz", "y"),
    ]
    weight = np.random.default_rng(0).integers(-99, 99, (5, 8)).astype(np.int8)
    model = quantized(
        [("x", onnx.TensorProto.FLOAT, [3, 8])], nodes, [("y", onnx.TensorProto.FLOAT)], w=weight,
        b=np.arange(5, dtype=np.int32) * 100, **SCALES,
    )  # fmt: skip
    agrees(model, {"x": values(2, 3, 8) * 40}, within=1e-4)


@pytest.mark.parametrize(
    ("node", "arguments"),
    [
        (op("QLinearSigmoid", "q xs xz s1 z0", "r", domain="com.microsoft"), "s1 z0"),
        (op("QLinearLeakyRelu", "q xs xz ys yz", "r", alpha=0.2, domain="com.microsoft"), "ys yz"),
        (op("QLinearMul", "q xs xz q xs xz s9 yz", "r", domain="com.microsoft"), "s9 yz"),
        (op("QLinearGlobalAveragePool", "q xs xz ys yz", "r", channels_last=0,
            domain="com.microsoft"), "ys yz"),
        (op("QLinearConcat", "ys yz q xs xz q xs xz", "r", axis=1, domain="com.microsoft"),
         "ys yz"),
        (op("Pad", "q pads z9", "r"), "xs xz"),
        (op("Pad", "q pads", "r"), "xs xz"),
        (op("Pad", "q pads", "r", mode="edge"), "xs xz"),
    ],
    ids=lambda node: getattr(node, "op_type", ""),
)  # fmt: skip
def test_operators_of_onnxruntime(node: onnx.NodeProto, arguments: str) -> None:
    nodes = [
        op("QuantizeLinear", "x xs xz", "q"),
        node,
        op("DequantizeLinear", f"r {arguments}", "y"),
    ]
    model = quantized(
        [("x", onnx.TensorProto.FLOAT, [1, 4, 5, 6])], nodes, [("y", onnx.TensorProto.FLOAT)],
        s1=np.float32(1 / 256), z0=np.uint8(0), s9=np.float32(9.0),
        z9=np.uint8(9), pads=np.array([0, 0, 1, 2, 0, 0, 0, 1]), **SCALES,
    )  # fmt: skip
    agrees(model, {"x": values(3, 1, 4, 5, 6) * 40}, within=1e-4)


def test_floats_behind_a_quantization_are_padded_with_floats() -> None:
    nodes = [
        op("QuantizeLinear", "x xs xz", "q"),
        op("DequantizeLinear", "q xs xz", "f"),
        op("Pad", "f pads value", "y"),
    ]
    model = quantized(
        [("x", onnx.TensorProto.FLOAT, [2, 6])], nodes, [("y", onnx.TensorProto.FLOAT)],
        pads=np.array([0, 1, 0, 0]), value=np.float32(3.0), **SCALES,
    )  # fmt: skip
    agrees(model, {"x": values(4, 2, 6) * 30}, within=1e-10)


def test_integer_products_of_integer_inputs() -> None:
    nodes = [
        op("ConvInteger", "x w xz", "c", pads=[1] * 4),
        op("Cast", "c", "f", to=onnx.TensorProto.FLOAT),
        op("Mul", "f s", "y"),
    ]
    weight = np.random.default_rng(0).integers(-99, 99, (4, 3, 3, 3)).astype(np.int8)
    model = quantized(
        [("x", U8, [1, 3, 9, 9])], nodes, [("y", onnx.TensorProto.FLOAT)], w=weight,
        s=np.float32(0.01), xz=np.uint8(128),
    )  # fmt: skip
    x = np.random.default_rng(1).integers(0, 256, (1, 3, 9, 9)).astype(np.uint8)
    graph = imported(model)
    [expected] = run_onnxruntime(onnx.load_model_from_string(model), {"x": x}, ["y"])
    assert relative_error(ReferenceNetwork(graph).run({"x": x})["y"], expected) < 1e-10


def test_operators_that_fall_back_are_given_codes() -> None:
    """What has no native form reads the integers that the model means, not what they stand for."""
    nodes = [
        op("QuantizeLinear", "x xs xz", "q"),
        op("Cast", "q", "i", to=onnx.TensorProto.INT64),
        op("CumSum", "i axis", "y"),
    ]
    model = quantized(
        [("x", onnx.TensorProto.FLOAT, [2, 6])], nodes, [("y", onnx.TensorProto.INT64)],
        axis=np.array(1), **SCALES,
    )  # fmt: skip
    x = values(4, 2, 6) * 30
    [expected] = run_onnxruntime(onnx.load_model_from_string(model), {"x": x}, ["y"])
    graph = import_model(read_model(model))
    np.testing.assert_array_equal(ReferenceNetwork(graph).run({"x": x})["y"], expected)


def test_scales_per_channel_of_computed_values_say_why_they_fall_back() -> None:
    nodes = [
        op("QuantizeLinear", "x s z", "q", axis=1),
        op("DequantizeLinear", "q s z", "y", axis=1),
    ]
    constants = {"s": np.float32([0.5, 0.25]), "z": np.array([0, 0], np.uint8)}
    graph = import_model(read_model(build(nodes, {"x": (1, 2, 3)}, ["y"], constants)))
    assert "a scale per channel" in graph.nodes[0].op.reason  # type: ignore[union-attr]
