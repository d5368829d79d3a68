"""Networks that take other types than float32: bytes of a camera, ids, masks, halves, doubles. What
a user has in hand goes in as it is, and comes out in the type that the model's file declares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import mquans
from mquans.errors import FrameError, ModelError, MquansError, SourceError
from mquans.onnx import import_model, read_model
from mquans.runtime.session import Session

RNG = np.random.default_rng(0)


def network(
    nodes: list[onnx.NodeProto],
    inputs: Mapping[str, tuple[int, list[int]]],
    outputs: Mapping[str, int],
    **constants: Any,
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "typed",
        [helper.make_tensor_value_info(name, *kind) for name, kind in inputs.items()],
        [helper.make_tensor_value_info(name, kind, None) for name, kind in outputs.items()],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def op(kind: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), [output], name=output, **attributes)


def conv(dtype: Any = np.float32) -> np.ndarray:
    return (np.random.default_rng(1).normal(size=(4, 3, 3, 3)) * 0.1).astype(dtype)


def camera() -> bytes:
    """Bytes, channels last, moved before they become floats, as converters of TFLite write it."""
    nodes = [
        op("Transpose", "x", "t", perm=[0, 3, 1, 2]),
        op("Cast", "t", "f", to=TensorProto.FLOAT),
        op("Conv", "f w", "y", pads=[1] * 4),
        op("Identity", "t", "seen"),
    ]
    return network(
        nodes,
        {"x": (TensorProto.UINT8, [1, 12, 14, 3])},
        {"y": TensorProto.FLOAT, "seen": TensorProto.UINT8},
        w=conv(),
    )


def floats(code: int, dtype: Any) -> bytes:
    nodes = [op("Conv", "x w", "c", pads=[1] * 4), op("Relu", "c", "y")]
    return network(nodes, {"x": (code, [1, 3, 12, 14])}, {"y": code}, w=conv(dtype))


def ids() -> bytes:
    """A vector looked up by id, and a mask: their integers are read by operators of integers."""
    nodes = [
        op("Gather", "table id", "vector"),
        op("Cast", "mask", "kept", to=TensorProto.FLOAT),
        op("Mul", "vector kept", "m"),
        op("MatMul", "m w", "y"),
        op("Add", "id one", "next"),
    ]
    rng = np.random.default_rng(2)
    return network(
        nodes,
        {"id": (TensorProto.INT64, [1]), "mask": (TensorProto.BOOL, [1, 8])},
        {"y": TensorProto.FLOAT, "next": TensorProto.INT64},
        table=rng.normal(size=(70000, 8)).astype(np.float32),
        w=rng.normal(size=(8, 5)).astype(np.float32),
        one=np.int64(1),
    )


def signed(code: int) -> bytes:
    nodes = [op("Cast", "x", "f", to=TensorProto.FLOAT), op("Conv", "f w", "y", pads=[1] * 4)]
    return network(nodes, {"x": (code, [1, 3, 12, 14])}, {"y": TensorProto.FLOAT}, w=conv())


def walk(shape: tuple[int, ...], dtype: Any, *, top: int = 256) -> list[Any]:
    """A quiet clip of whole numbers."""
    rng = np.random.default_rng(3)
    still = rng.integers(0, top, shape)
    clip = [still.copy() for _ in range(12)]
    for number, frame in enumerate(clip):
        frame[0, number % shape[1]] = rng.integers(0, top, shape[2:])
    return [frame.astype(dtype) for frame in clip]


def ids_clip() -> list[Any]:
    rng = np.random.default_rng(4)
    return [
        {"id": rng.integers(0, 70000, 1), "mask": rng.integers(0, 2, (1, 8)).astype(bool)}
        for _ in range(12)
    ]


CASES = {
    "bytes": (camera(), walk((1, 12, 14, 3), np.uint8)),
    "int8": (signed(TensorProto.INT8), walk((1, 3, 12, 14), np.int8, top=100)),
    "int16": (signed(TensorProto.INT16), walk((1, 3, 12, 14), np.int16, top=3000)),
    "int32": (signed(TensorProto.INT32), walk((1, 3, 12, 14), np.int32)),
    "uint16": (signed(TensorProto.UINT16), walk((1, 3, 12, 14), np.uint16, top=60000)),
    "half": (floats(TensorProto.FLOAT16, np.float16), walk((1, 3, 12, 14), np.float16)),
    "double": (floats(TensorProto.DOUBLE, np.float64), walk((1, 3, 12, 14), np.float64)),
    "ids": (ids(), ids_clip()),
}


def dense(model: bytes, frame: Any) -> dict[str, np.ndarray]:
    """What onnx itself says, which also has layers in double precision."""
    evaluator = ReferenceEvaluator(onnx.load_model_from_string(model))
    feeds = frame if isinstance(frame, dict) else {"x": frame}
    return dict(zip(evaluator.output_names, evaluator.run(None, feeds), strict=True))


@pytest.mark.parametrize("case", CASES)
def test_frames_go_in_as_they_are_and_outputs_come_in_the_declared_type(case: str) -> None:
    model, clip = CASES[case]
    session = Session(model, mquans.calibrate(model, clip, bits=12))
    stream = session.stream()
    for frame in clip:
        outputs, expected = stream.step(frame), dense(model, frame)
        for name, array in expected.items():
            assert outputs[name].dtype == array.dtype
            size = np.abs(array.astype(np.float64)).max()
            difference = np.abs(outputs[name].astype(np.float64) - array.astype(np.float64)).max()
            assert difference <= (0.02 * size if array.dtype.kind == "f" else 0)


@pytest.mark.parametrize("case", CASES)
def test_dense_engines_and_the_proof_take_the_same_frames(case: str) -> None:
    model, clip = CASES[case]
    plan = mquans.calibrate(model, clip, bits=12)
    compared = mquans.compare(model, plan, clip, engines=["ort-int8-dynamic"])
    assert compared.agreement["mquans"].loss_p95 < 0.01
    assert mquans.verify(model, plan, clip).exact


@pytest.mark.parametrize("case", ["bytes", "double", "ids"])
def test_a_stream_saved_goes_on_with_the_same_bits(case: str) -> None:
    model, clip = CASES[case]
    session = Session(model, mquans.calibrate(model, clip, bits=12))
    stream = session.stream()
    for frame in clip[:6]:
        stream.step(frame)
    again = session.restore(stream.save())
    for frame in clip[6:]:
        for name, array in stream.step(frame).items():
            assert array.tobytes() == again.step(frame)[name].tobytes()


def test_onnxruntime_s_face_names_the_declared_types() -> None:
    session = Session(camera(), mquans.calibrate(*CASES["bytes"], bits=8))
    assert [value.type for value in session.get_inputs()] == ["tensor(uint8)"]
    assert [value.type for value in session.get_outputs()] == ["tensor(float)", "tensor(uint8)"]


def test_video_reaches_a_network_of_bytes_without_a_scale() -> None:
    pictures = [RNG.integers(0, 256, (24, 28, 3), dtype=np.uint8) for _ in range(8)]
    plan = mquans.calibrate(camera(), pictures, bits=8)
    assert plan.input is not None
    assert (plan.input.scale, plan.input.mean, plan.input.std) == (1.0, (0.0,), (1.0,))
    assert mquans.verify(camera(), plan, pictures).exact
    with pytest.raises(MquansError, match="takes integers, but --scale"):
        mquans.calibrate(camera(), pictures, bits=8, input={"scale": 1 / 255})


@pytest.mark.parametrize(
    ("case", "frame", "message"),
    [
        ("bytes", np.full((1, 12, 14, 3), 300, np.int32), "takes uint8, which does not hold"),
        ("bytes", np.full((1, 12, 14, 3), 0.5, np.float32), "with fractions"),
        ("int8", np.full((1, 3, 12, 14), 200, np.int16), "from 200 to 200"),
        ("ids", {"id": np.array([1 << 40]), "mask": np.ones((1, 8), bool)}, "integers up to"),
        ("ids", {"id": np.array([1]), "mask": np.full((1, 8), 2)}, "takes bool"),
        ("double", np.full((1, 3, 12, 14), "a"), "expected float64 values"),
    ],
)
def test_values_that_a_type_does_not_hold_are_refused(case: str, frame: Any, message: str) -> None:
    """Else they would wrap around without a word."""
    model, clip = CASES[case]
    session = Session(model, mquans.calibrate(model, clip, bits=8))
    with pytest.raises(FrameError, match=message):
        session.stream().step(frame)


def test_a_counter_is_a_state_like_any_other() -> None:
    nodes = [
        op("Cast", "n", "f", to=TensorProto.FLOAT),
        op("Mul", "x f", "m"),
        op("MatMul", "m w", "y"),
        op("Add", "n one", "n_out"),
    ]
    model = network(
        nodes,
        {"x": (TensorProto.FLOAT, [1, 4]), "n": (TensorProto.INT64, [1])},
        {"y": TensorProto.FLOAT, "n_out": TensorProto.INT64},
        w=RNG.normal(size=(4, 3)).astype(np.float32),
        one=np.array([1]),
    )
    clip = [np.ones((1, 4), np.float32)] * 12
    plan = mquans.calibrate(model, clip, bits=8, feedback={"n": "n_out"})
    stream = Session(model, plan).stream()
    assert [int(stream.step(frame)["n_out"][0]) for frame in clip[:3]] == [1, 2, 3]
    assert mquans.compare(model, plan, clip).agreement["mquans"].loss_p95 < 0.01


@pytest.mark.parametrize(
    ("code", "dtype"), [(TensorProto.FLOAT16, np.float16), (TensorProto.DOUBLE, np.float64)]
)
def test_outputs_of_changing_size_come_in_the_declared_type(code: int, dtype: Any) -> None:
    """They are onnxruntime's, which computes in float32 here too."""
    nodes = [
        op("Relu", "x", "p"),
        op("Cast", "p", "b", to=TensorProto.BOOL),
        op("Reshape", "b all", "chosen"),
        op("Compress", "p chosen", "y"),
    ]
    inputs, outputs = {"x": (code, [1, 12])}, {"y": code, "p": code}
    model = network(nodes, inputs, outputs, all=np.array([-1]))
    frames = [RNG.normal(size=(1, 12)).astype(dtype) for _ in range(8)]
    stream = Session(model, mquans.calibrate(model, frames, bits=12)).stream()
    for frame in frames:
        found = stream.step(frame)
        assert found["y"].dtype == found["p"].dtype == dtype
        np.testing.assert_allclose(found["y"], frame[frame > 0], rtol=1e-6)


@pytest.mark.parametrize(("code", "number"), [(TensorProto.FLOAT, 0.5), (TensorProto.INT64, 3)])
def test_a_single_number_is_an_input_like_any_other(code: int, number: float) -> None:
    """A gain, a rate: of no axes, as a frame's array is."""
    nodes = [op("Cast", "n", "f", to=TensorProto.FLOAT), op("Mul", "x f", "y")]
    inputs = {"x": (TensorProto.FLOAT, [1, 4]), "n": (code, [])}
    model = network([*nodes, op("Identity", "n", "m")], inputs, {"y": TensorProto.FLOAT, "m": code})
    dtype = helper.tensor_dtype_to_np_dtype(code)
    clip = [{"x": np.full((1, 4), i, np.float32), "n": np.array(number, dtype)} for i in range(8)]
    stream = Session(model, mquans.calibrate(model, clip, bits=12)).stream()
    for frame in clip:
        found = stream.step(frame)
        np.testing.assert_array_equal(found["y"], frame["x"] * np.float32(number))
        assert found["m"].shape == ()
        assert (found["m"].dtype, found["m"]) == (dtype, number)


def test_strings_are_refused_in_one_sentence() -> None:
    nodes = [op("Identity", "t", "u"), op("Relu", "x", "y")]
    inputs = {"x": (TensorProto.FLOAT, [1, 4]), "t": (TensorProto.STRING, [1])}
    model = network(nodes, inputs, {"y": TensorProto.FLOAT, "u": TensorProto.STRING})
    with pytest.raises(ModelError, match="its input 't' takes strings; frames are numbers"):
        import_model(read_model(model))
    clip = [{"x": np.ones((1, 4), np.float32), "t": np.array(["a"], object)}] * 4
    with pytest.raises(SourceError, match="a frame must be numbers"):
        mquans.calibrate(model, clip, bits=12)


@pytest.mark.parametrize("turned", [False, True])
def test_bytes_of_a_camera_are_compared_as_they_come(turned: bool) -> None:
    """Not copied into floats first: a third of the time of a keyframe; the same bits."""
    nodes = [op("Cast", "x", "f", to=TensorProto.FLOAT), op("Conv", "f w", "y", pads=[1] * 4)]
    if turned:
        nodes.insert(1, op("Transpose", "f", "t", perm=[0, 3, 1, 2]))
        nodes[2].input[0] = "t"
    shape = [1, 12, 14, 3] if turned else [1, 3, 12, 14]
    model = network(nodes, {"x": (TensorProto.UINT8, shape)}, {"y": TensorProto.FLOAT}, w=conv())
    frames = walk(tuple(shape), np.uint8)
    session = Session(model, mquans.calibrate(model, frames, max_loss=0.02))
    assert session.lowered.program.pixel_inputs == [True]
    streams = session.stream(), session.stream()
    for frame in frames:
        bytes_, floats_ = streams[0].step(frame), streams[1].step(frame.astype(np.float32))
        np.testing.assert_array_equal(bytes_["y"], floats_["y"])
