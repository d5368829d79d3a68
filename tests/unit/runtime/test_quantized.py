"""Quantized networks on streams: in codes, with reuse, and as near to what was deployed as the
integers allow."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnxruntime
import pytest
from msgspec.structs import replace
from onnx import TensorProto, helper, numpy_helper, parser

import mquans
from mquans.plan import Plan
from mquans.runtime.lowering.sites import analyse
from mquans.runtime.session import Session, available_isas

from ..onnx.quantized_networks import FORMS, SHAPE, clip, dynamic, static


def unoptimised(model: bytes, frame: np.ndarray) -> dict[str, np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"x": frame}), strict=True))


@cache
def model(form: str) -> bytes:
    return dynamic("convolutions") if form == "dynamic" else static("convolutions", form)


@cache
def plan(form: str) -> Plan:
    return mquans.calibrate(model(form), clip(SHAPE), bits=12)


@pytest.mark.parametrize("form", [*FORMS, "dynamic"])
def test_outputs_are_those_of_the_quantized_network(form: str) -> None:
    """Much nearer than its steps of 8 bits are wide, of which rounding takes a hundredth."""
    stream = Session(model(form), plan(form)).stream()
    for frame in clip(SHAPE):
        outputs = stream.step(frame, keyframe=True)
        for name, expected in unoptimised(model(form), frame).items():
            error = np.square(outputs[name] - expected).mean() / np.square(expected).mean()
            assert error < 3e-3


@pytest.mark.parametrize("form", ["pairs", "operators", "dynamic"])
def test_a_quiet_stream_leaves_little_to_do_and_keeps_the_law(form: str) -> None:
    session = Session(model(form), plan(form))
    stream = session.stream()
    for frame in clip(SHAPE):
        stream.step(frame)
    assert stream.stats.macs_done < 0.7 * stream.stats.macs_total
    assert mquans.verify(model(form), plan(form), clip(SHAPE)).exact


def test_weights_of_layers_value_by_value_are_held_in_bytes() -> None:
    """A recurrent layer reads all its weights in every step of time."""
    made = mquans.calibrate(dynamic("memory"), clip((20, 1, 16)), bits=12)
    held = {layer.name: layer.weight_bits for layer in made.layers}
    assert [width for name, width in held.items() if name.endswith("/input")] == [8, 8]
    session = Session(dynamic("memory"), made)
    layers = tuple(replace(layer, weight_bits=16) for layer in made.layers)
    wide = Session(dynamic("memory"), replace(made, layers=layers))
    assert session.weights_bytes < wide.weights_bytes
    wanted = mquans.calibrate(dynamic("memory"), clip((20, 1, 16)), bits=12, weight_bits=16)
    assert {layer.weight_bits for layer in wanted.layers} == {16}
    stream = session.stream()
    for frame in clip((20, 1, 16)):
        found = stream.step(frame, keyframe=True)["y"]
        expected = unoptimised(dynamic("memory"), frame)["y"]
        assert np.square(found - expected).mean() < 3e-3 * np.square(expected).mean()


def test_codes_of_quantized_values_are_whole_steps() -> None:
    """What a layer was deployed to give is held exactly, however it is computed."""
    session = Session(model("pairs"), plan("pairs"))
    whole = [
        tensor
        for tensor in plan("pairs").tensors
        if tensor.bits == 9 and not np.any(tensor.exponents)
    ]
    assert len(whole) >= 5
    assert session.layer_names


@pytest.mark.parametrize("isa", ["scalar", "avx2", "avx512"])
def test_every_instruction_set_gives_the_same_bits(isa: str) -> None:
    if isa not in available_isas():
        pytest.skip(f"this CPU has no {isa}")
    streams = [
        Session(model("operators"), plan("operators"), isa=each).stream()
        for each in ("scalar", isa)
    ]
    for frame in clip(SHAPE):
        first, second = (stream.step(frame) for stream in streams)
        assert all(first[name].tobytes() == second[name].tobytes() for name in first)


def test_integers_at_both_ends() -> None:
    """As TensorFlow Lite's networks have them: outputs that are cut off instead of rounded would be
    a step too low nearly everywhere."""
    rng = np.random.default_rng(0)
    constants = {
        "w": rng.integers(-99, 99, (8, 3, 3, 3)).astype(np.int8), "ws": np.float32(0.004),
        "wz": np.int8(0), "xs": np.float32(1 / 128), "xz": np.uint8(127), "ys": np.float32(0.02),
        "yz": np.uint8(60),
    }  # fmt: skip
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 3, 1, 2]),
        helper.make_node(
            "QLinearConv", ["t", "xs", "xz", "w", "ws", "wz", "ys", "yz"], ["c"], pads=[1] * 4
        ),
        helper.make_node("MaxPool", ["c"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Transpose", ["p"], ["y"], perm=[0, 2, 3, 1]),
    ]
    graph = helper.make_graph(
        nodes,
        "bytes",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [1, 16, 20, 3])],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
    frames = [rng.integers(0, 256, (1, 16, 20, 3)).astype(np.uint8) for _ in range(8)]
    stream = Session(made, mquans.calibrate(made, frames, bits=12)).stream()
    for frame in frames:
        found, expected = stream.step(frame, keyframe=True)["y"], unoptimised(made, frame)["y"]
        assert found.dtype == np.uint8
        assert np.abs(found.astype(int) - expected).max() <= 1
        assert (found != expected).mean() < 0.02


def test_whole_steps_stay_whole_where_floats_move_them() -> None:
    """A transposition of axes is made of floats: what a layer reads of it are the codes that were
    deployed, not finer ones, or it multiplies 16 bits where 8 do."""
    rng = np.random.default_rng(3)
    constants = {
        "s": np.float32(0.5), "z": np.uint8(100), "t": np.float32(0.006), "i": np.int8(0),
        "u": np.float32(3.0), "o": np.uint8(30), "shape": np.array([24, 8]),
        "w": rng.integers(-127, 128, (8, 12)).astype(np.int8),
    }  # fmt: skip
    text = """<ir_version: 8, opset_import: ["": 13]>
        moved (float[1, 8, 24] x) => (float[24, 12] y) {
            a = QuantizeLinear(x, s, z)
            b = DequantizeLinear(a, s, z)
            c = Transpose<perm = [0, 2, 1]>(b)
            d = Reshape(c, shape)
            v = DequantizeLinear(w, t, i)
            e = MatMul(d, v)
            f = QuantizeLinear(e, u, o)
            y = DequantizeLinear(f, u, o)
        }"""
    proto = parser.parse_model(text)
    proto.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()
    )
    moved = proto.SerializeToString()
    frames = [{"x": rng.normal(0, 30, (1, 8, 24)).astype(np.float32)} for _ in range(4)]
    found = mquans.calibrate(moved, frames, bits=12)
    whole = [tensor for tensor in found.tensors if tensor.bits == 9]
    assert not any(np.any(tensor.exponents) for tensor in whole)
    session = Session(moved, found)
    assert list(analyse(session.graph).least.values()) == [-100]
    assert analyse(session.graph).least.keys() <= {tensor.name for tensor in whole}
    stream = session.stream()
    for frame in frames:
        expected = unoptimised(moved, frame["x"])["y"]
        np.testing.assert_array_equal(stream.step(frame)["y"], expected)
