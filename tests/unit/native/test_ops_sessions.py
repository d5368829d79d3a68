"""Small ONNX models without reuse layers, through the importer and the lowering: every operator
must give onnxruntime's values on every frame of a stream, on whatever axes it works."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

native = pytest.importorskip("mquans._native")
onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from mquans.onnx import read_model  # noqa: E402
from mquans.plan import Plan  # noqa: E402
from mquans.plan.schema import Provenance  # noqa: E402
from mquans.runtime.session import Session  # noqa: E402

Node = tuple[str, str, str, dict[str, Any]]
Shapes = Mapping[str, Sequence[int]]


def model_of(nodes: Sequence[Node], inputs: Shapes, constants: Mapping[str, Any]) -> bytes:
    """An ONNX file; the last node's output is the model's."""
    made = [
        onnx.helper.make_node(kind, feeds.replace("-", "").split(" "), outs.split(), **attributes)
        for kind, feeds, outs, attributes in nodes
    ]
    graph = onnx.helper.make_graph(
        made,
        "small",
        [onnx.helper.make_tensor_value_info(n, 1, list(shape)) for n, shape in inputs.items()],
        [onnx.ValueInfoProto(name=made[-1].output[0])],
        [onnx.numpy_helper.from_array(np.asarray(v), n) for n, v in constants.items()],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=8)
    return onnx.shape_inference.infer_shapes(model).SerializeToString()


def session_of(model: bytes, inputs: Shapes, **options: Any) -> Session:
    plan = Plan(
        model="small.onnx",
        model_sha256=read_model(model).sha256,
        input_shapes={name: tuple(shape) for name, shape in inputs.items()},
        layers=(),
        provenance=Provenance(mquans="0", sources=(), frames=0, created="2020-01-01T00:00:00Z"),
    )
    return Session(model, plan, **options)


def integers(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def random(*shape: int) -> np.ndarray:
    return np.random.default_rng(4).normal(size=shape).astype(np.float32)


IMAGE = {"x": (1, 6, 9, 70)}
SEQUENCE = {"x": (1, 40, 24)}
CASES: dict[str, tuple[list[Node], Shapes, dict[str, Any]]] = {
    "skip link and activation": (
        [("Sigmoid", "x", "s", {}), ("Mul", "x s", "m", {}), ("Add", "m x", "y", {})], IMAGE, {},
    ),
    "squeeze and excite": (
        [
            ("GlobalAveragePool", "x", "g", {}),
            ("HardSigmoid", "g", "h", {"alpha": 0.2}),
            ("Mul", "x h", "y", {}),
        ], IMAGE, {},
    ),
    "per-channel constants": (
        [("Sub", "x mean", "d", {}), ("Div", "d std", "y", {})], IMAGE,
        {"mean": random(6, 1, 1), "std": np.abs(random(1, 6, 1, 1)) + 1},
    ),
    "max pool and nearest upsampling": (
        [
            ("MaxPool", "x", "p", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4}),
            ("Resize", "p - scales", "y", {"mode": "nearest", "nearest_mode": "floor",
                                           "coordinate_transformation_mode": "asymmetric"}),
        ], IMAGE, {"scales": np.array([1, 1, 2, 2], np.float32)},
    ),
    "average pool with ceil mode": (
        [("AveragePool", "x", "y", {"kernel_shape": [2, 3], "strides": [2, 2], "ceil_mode": 1})],
        IMAGE, {},
    ),
    "linear resize": (
        [("Resize", "x - scales", "y", {"mode": "linear"})], IMAGE,
        {"scales": np.array([1, 1, 1.5, 2], np.float32)},
    ),
    "cubic resize": (
        [("Resize", "x - scales", "y", {"mode": "cubic"})], IMAGE,
        {"scales": np.array([1, 1, 2, 0.5], np.float32)},
    ),
    "split, swap and concat of channels": (
        [
            ("Split", "x", "a b", {"axis": 1}),
            ("Relu", "a", "c", {}),
            ("Concat", "b c x", "y", {"axis": 1}),
        ], IMAGE, {},
    ),
    "shuffle of joined features": (
        [
            ("Relu", "x", "a", {}),
            ("Tanh", "x", "b", {}),
            ("Concat", "a b", "c", {"axis": 2}),
            ("Gather", "c even", "e", {"axis": 2}),
            ("Gather", "c odd", "o", {"axis": 2}),
            ("Sub", "e o", "y", {}),
        ], SEQUENCE, {"even": integers(*range(0, 48, 2)), "odd": integers(*range(47, 0, -2))},
    ),
    "concat along height": ([("Concat", "x x", "y", {"axis": 2})], IMAGE, {}),
    "space to depth by slices": (
        [
            ("Slice", "x b0 e ax st", "p", {}),
            ("Slice", "x b1 e ax st", "q", {}),
            ("Concat", "p q", "y", {"axis": 1}),
        ], {"x": (1, 3, 8, 70)},
        {"b0": integers(0, 0), "b1": integers(1, 1), "e": integers(8, 70), "ax": integers(2, 3),
         "st": integers(2, 2)},
    ),
    "reflection padding": (
        [("Pad", "x pads", "y", {"mode": "reflect"})], IMAGE,
        {"pads": integers(0, 0, 1, 2, 0, 0, 3, 1)},
    ),
    "detection head": (
        [
            ("Reshape", "x shape", "r", {}),
            ("Transpose", "r", "t", {"perm": [0, 3, 1, 2]}),
            ("Softmax", "t", "s", {"axis": 3}),
            ("ReduceSum", "s axes", "y", {"keepdims": 0}),
        ], {"x": (1, 32, 5, 14)}, {"shape": integers(1, 4, 8, 70), "axes": integers(2)},
    ),
    "channel softmax of an image": ([("Softmax", "x", "y", {"axis": 1})], IMAGE, {}),
    "log softmax over width": ([("LogSoftmax", "x", "y", {"axis": 3})], IMAGE, {}),
    "instance norm of an image": (
        [("Relu", "x", "r", {}), ("InstanceNormalization", "r s b", "y", {})], IMAGE,
        {"s": random(6), "b": random(6)},
    ),
    "instance norm where channels come last": (
        [
            ("Transpose", "x", "t", {"perm": [0, 2, 1]}),
            ("InstanceNormalization", "t s b", "y", {}),
        ], SEQUENCE, {"s": random(24), "b": random(24)},
    ),
    "group norm where channels come last": (
        [
            ("Transpose", "x", "t", {"perm": [0, 2, 1]}),
            ("Reshape", "t rows", "g", {}),
            ("InstanceNormalization", "g one zero", "n", {}),
            ("Reshape", "n back", "y", {}),
        ], SEQUENCE,
        {"rows": integers(1, 4, -1), "back": integers(1, 24, 40), "one": np.ones(4, np.float32),
         "zero": np.zeros(4, np.float32)},
    ),
    "group norm of an image": (
        [
            ("Reshape", "x rows", "g", {}),
            ("InstanceNormalization", "g s b", "n", {}),
            ("Reshape", "n back", "y", {}),
        ], IMAGE, {"rows": integers(1, 2, -1), "back": integers(1, 6, 9, 70), "s": random(2),
                   "b": random(2)},
    ),
    "flatten": ([("Flatten", "x", "y", {"axis": 1})], IMAGE, {}),
    "reductions": (
        [
            ("ReduceMean", "x", "m", {"axes": [1], "keepdims": 1}),
            ("ReduceMax", "x", "n", {"axes": [1], "keepdims": 1}),
            ("Concat", "m n", "c", {"axis": 1}),
            ("ReduceL2", "c", "y", {"axes": [3], "keepdims": 0}),
        ], IMAGE, {},
    ),
    "layer norm and gelu of a sequence": (
        [
            ("LayerNormalization", "x scale bias", "n", {"axis": -1}),
            ("Div", "n root", "d", {}),
            ("Erf", "d", "e", {}),
            ("Add", "e one", "o", {}),
            ("Mul", "n o", "p", {}),
            ("Mul", "p half", "y", {}),
        ], SEQUENCE,
        {"scale": random(24), "bias": random(24), "root": np.float32(2**0.5), "one": np.float32(1),
         "half": np.float32(0.5)},
    ),
    "attention": (
        [
            ("Reshape", "x shape", "h", {}),
            ("Transpose", "h", "q", {"perm": [0, 2, 1, 3]}),
            ("Transpose", "h", "k", {"perm": [0, 2, 3, 1]}),
            ("MatMul", "q k", "w", {}),
            ("Softmax", "w", "s", {"axis": -1}),
            ("MatMul", "s q", "o", {}),
            ("Transpose", "o", "t", {"perm": [0, 2, 1, 3]}),
            ("Reshape", "t back", "y", {}),
        ], SEQUENCE, {"shape": integers(1, 40, 3, 8), "back": integers(1, 40, 24)},
    ),
    "two inputs that broadcast": (
        [("Max", "x z", "m", {}), ("PRelu", "m slope", "y", {})],
        {"x": (1, 6, 9, 70), "z": (9, 1)}, {"slope": random(6, 1, 1)},
    ),
    "volume": (
        [
            ("MaxPool", "x", "p", {"kernel_shape": [2, 3, 3], "pads": [0, 1, 1, 1, 1, 1]}),
            ("Tanh", "p", "y", {}),
        ], {"x": (1, 3, 4, 5, 9)}, {},
    ),
    "expand and power": (
        [("Expand", "x shape", "e", {}), ("Pow", "e two", "y", {})], {"x": (1, 6, 1, 70)},
        {"shape": integers(1, 6, 4, 70), "two": np.float32(2)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_streams_give_onnxruntimes_values(name):
    nodes, inputs, constants = CASES[name]
    model = model_of(nodes, inputs, constants)
    reference = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    isas = native.available_isas()
    sessions = [
        session_of(model, inputs, isa=isas[0]),
        session_of(model, inputs, isa=isas[-1], threads=2),
    ]
    streams = [session.stream() for session in sessions]
    rng = np.random.default_rng(11)
    frame = {name: rng.normal(size=shape).astype(np.float32) for name, shape in inputs.items()}
    for index in range(5):
        for values in frame.values():
            values[rng.random(values.shape) < (0.02, 0.0, 0.3)[index % 3]] += 1
        expected = reference.run(None, frame)[0]
        fresh = sessions[0].stream().step(frame)
        for stream in streams:
            found = stream.step(frame)
            np.testing.assert_allclose(found["y"], expected, rtol=2e-5, atol=2e-5)
            assert found["y"].tobytes() == fresh["y"].tobytes(), "incremental and fresh differ"
