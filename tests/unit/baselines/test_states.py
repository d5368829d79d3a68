"""Dense engines on recurrent networks: what they compute must not depend on who hands states over,
or our engine would be compared with another network."""

from __future__ import annotations

import importlib.util

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mquans.baselines import Engine, load_engine, open_engine, prepare_model
from mquans.errors import ModelError, MquansError
from mquans.onnx import read_model, whole_feedback
from mquans.onnx.model_file import ModelFile
from mquans.plan import NetworkOptions

Array = npt.NDArray[np.float32]
HIDDEN, FEATURES = 6, 4
ENGINE = ["ort-fp32", "ort-int8-dynamic"]
if importlib.util.find_spec("openvino") is not None:
    ENGINE.append("openvino-fp32")
CARRIED = NetworkOptions({"x": (1, 1, FEATURES), "lstm/h": (1, 1, HIDDEN),
                          "lstm/c": (1, 1, HIDDEN)}, carry_state=True)  # fmt: skip
GATED_UNIT = NetworkOptions({"x": (1, 2), "state": (1, 2)}, feedback={"state": "next"})


def random(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def model_of(
    nodes: list[onnx.NodeProto], inputs: dict[str, list[int]], outputs: dict[str, int],
    weights: dict[str, Array],
) -> ModelFile:  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "recurrent",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [None] * r)
         for n, r in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )  # fmt: skip
    return read_model(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    )


@pytest.fixture
def lstm() -> ModelFile:
    """An LSTM without state inputs, whose sequence length is free."""
    node = helper.make_node("LSTM", ["x", "w", "r"], ["y"], name="lstm", hidden_size=HIDDEN)
    weights = {"w": random(1, 4 * HIDDEN, FEATURES), "r": random(1, 4 * HIDDEN, HIDDEN, seed=1)}
    return model_of([node], {"x": [None, 1, FEATURES]}, {"y": 4}, weights)  # type: ignore[list-item]


@pytest.fixture
def unrolled() -> ModelFile:
    """next = tanh(x @ w + state @ r), y = next @ v."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("MatMul", ["state", "r"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["sum"]),
        helper.make_node("Tanh", ["sum"], ["next"]),
        helper.make_node("MatMul", ["next", "v"], ["y"]),
    ]
    weights = {name: random(2, 2, seed=seed) for seed, name in enumerate("wrv")}
    return model_of(nodes, {"x": [1, 2], "state": [1, 2]}, {"y": 2, "next": 2}, weights)


def run(engine: Engine, frames: list[Array]) -> Array:
    return np.concatenate([engine.step({"x": frame})["y"] for frame in frames])


@pytest.mark.parametrize("name", ENGINE)
def test_states_go_from_frame_to_frame(name: str, lstm: ModelFile) -> None:
    frames = [random(1, 1, FEATURES, seed=seed) for seed in range(10)]
    found = run(open_engine(name, lstm, CARRIED), frames)
    whole = open_engine("ort-fp32", lstm, NetworkOptions({"x": (10, 1, FEATURES)}))
    expected = whole.step({"x": np.concatenate(frames)})["y"]
    tolerance = 1e-5 if "fp32" in name else 0.05
    np.testing.assert_allclose(found, expected, atol=tolerance)


@pytest.mark.parametrize("name", ENGINE)
def test_reset_begins_a_new_stream(name: str, lstm: ModelFile) -> None:
    engine = open_engine(name, lstm, CARRIED)
    frames = [random(1, 1, FEATURES, seed=seed) for seed in range(4)]
    first = run(engine, frames)
    assert not np.array_equal(run(engine, frames), first)
    engine.reset()
    np.testing.assert_array_equal(run(engine, frames), first)


def test_a_prepared_model_is_loaded_with_its_feedback(lstm: ModelFile) -> None:
    """A process of its own loads the file, so that memory and start can be measured."""
    data = prepare_model("ort-fp32", lstm, CARRIED)
    feedback = whole_feedback(lstm, CARRIED)
    engine = load_engine("ort-fp32", data, model_name="lstm", feedback=feedback)
    frames = [random(1, 1, FEATURES, seed=seed) for seed in range(4)]
    expected = run(open_engine("ort-fp32", lstm, CARRIED), frames)
    np.testing.assert_array_equal(run(engine, frames), expected)


def test_the_quantized_layer_is_an_integer_one(lstm: ModelFile) -> None:
    data = prepare_model("ort-int8-dynamic", lstm, CARRIED)
    nodes = onnx.load_model_from_string(data).graph.node
    assert "DynamicQuantizeLSTM" in [node.op_type for node in nodes]
    assert "in fp32" not in open_engine("ort-int8-dynamic", lstm, CARRIED).description


def test_a_layer_that_stays_in_floating_point_is_told() -> None:
    node = helper.make_node("GRU", ["x", "w", "r"], ["y"], name="gru", hidden_size=HIDDEN)
    weights = {"w": random(1, 3 * HIDDEN, FEATURES), "r": random(1, 3 * HIDDEN, HIDDEN)}
    gru = model_of([node], {"x": [1, 1, FEATURES]}, {"y": 4}, weights)
    engine = open_engine("ort-int8-dynamic", gru, NetworkOptions({"x": (1, 1, FEATURES)}))
    assert engine.description.endswith("GRU in fp32")


@pytest.mark.parametrize("name", ["ort-int8", "ort-int8-qoperator"])
def test_static_quantization_refuses_recurrent_layers(name: str, lstm: ModelFile) -> None:
    frames = [{"x": random(1, 1, FEATURES)}]
    with pytest.raises(ModelError, match=r"LSTM layers in floating point.*ort-int8-dynamic"):
        open_engine(name, lstm, CARRIED, calibration=frames)


def test_static_quantization_sees_the_states_of_unrolled_layers(unrolled: ModelFile) -> None:
    """Ranges of zero states would clip every later one."""
    frames = [random(1, 2, seed=seed) for seed in range(20)]
    exact = run(open_engine("ort-fp32", unrolled, GATED_UNIT), frames)
    calibration = [{"x": frame} for frame in frames]
    engine = open_engine("ort-int8", unrolled, GATED_UNIT, calibration=calibration)
    error = np.square(run(engine, frames) - exact).sum() / np.square(exact).sum()
    assert error < 0.01


def test_the_gate_refuses_networks_with_states(unrolled: ModelFile) -> None:
    with pytest.raises(MquansError, match="gated repeats outputs"):
        open_engine("gated", unrolled, GATED_UNIT, calibration=[{"x": random(1, 2)}])


def test_feedback_that_does_not_fit_is_named(unrolled: ModelFile) -> None:
    options = NetworkOptions(GATED_UNIT.input_shapes, feedback={"state": "nothing"})
    with pytest.raises(ModelError, match="'nothing' not an output"):
        open_engine("ort-fp32", unrolled, options)


def test_an_output_of_another_size_than_its_state_is_named(lstm: ModelFile) -> None:
    """Sizes of outputs may show only when the network runs."""
    shapes = {"x": (3, 1, FEATURES), "lstm/h": (1, 1, HIDDEN), "lstm/c": (1, 1, HIDDEN)}
    options = NetworkOptions(shapes, feedback={"lstm/h": "y"}, carry_state=True)
    engine = open_engine("ort-fp32", lstm, options)
    with pytest.raises(ModelError, match=r"'lstm/h' has shape .* but 'y', .* \[3, 1, 1, 6\]"):
        engine.step({"x": random(3, 1, FEATURES)})
