"""States are found without being named by the user; what is no state is left alone."""

from __future__ import annotations

import pytest

from mquans.graph import Graph, ValueType
from mquans.onnx import guess_feedback, import_model, read_model
from mquans.plan import NetworkOptions

from .test_recurrent import layer

STATE = (2, 1, 128)
FRAME = (1, 576)


def graph(inputs: dict[str, tuple[int, ...]], outputs: dict[str, tuple[int, ...]]) -> Graph:
    types = {name: ValueType(shape) for name, shape in (inputs | outputs).items()}
    return Graph("n", tuple(inputs), tuple(outputs), [], {}, types)


@pytest.mark.parametrize(
    "pairs",
    [
        {"state": "stateN"},
        {"h": "hn", "c": "cn"},
        {"h0": "h_n", "c0": "c_n"},
        {"h_in": "h_out", "c_in": "c_out"},
        {"conv_cache": "conv_cache_out", "tra_cache": "tra_cache_out"},
        {"prev_state": "next_state"},
        {"in_state": "out_state"},
        {"gru/h": "gru/h_out"},
        {"stateIn": "stateOut"},
        {"input_3": "tf_op_layer_stack_2"},
    ],
)
def test_states_are_found_by_their_names(pairs: dict[str, str]) -> None:
    inputs = {"input": FRAME} | dict.fromkeys(pairs, STATE)
    outputs = {"output": (1, 1)} | dict.fromkeys(pairs.values(), STATE)
    assert guess_feedback(graph(inputs, outputs)) == pairs


def test_a_frame_that_becomes_another_frame_is_no_state() -> None:
    inputs, outputs = {"audio_in": FRAME, "h": STATE}, {"audio_out": FRAME, "hn": STATE}
    assert guess_feedback(graph(inputs, outputs)) == {"h": "hn"}


def test_lengths_are_no_states() -> None:
    """Features of sound come with how many there are, which is no length of the next sound."""
    made = graph({"waveforms": FRAME, "waveforms_lens": (1,)},
                 {"features": (1, 80, 4), "features_lens": (1,)})  # fmt: skip
    made.declared = dict.fromkeys(("waveforms_lens", "features_lens"), "int64")
    assert guess_feedback(made) == {}
    made.declared = {}
    assert guess_feedback(made) == {"waveforms_lens": "features_lens"}


def test_a_state_may_come_back_in_another_shape() -> None:
    found = guess_feedback(graph({"x": FRAME, "h": (1, 1, 8)}, {"y": (1, 1), "hn": (1, 8)}))
    assert found == {"h": "hn"}


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ({"input": FRAME}, {"output": FRAME}),
        ({"audio_in": FRAME}, {"audio_out": FRAME}),
        ({"input_1": FRAME, "input_2": FRAME}, {"output_1": FRAME, "output_2": (1, 5)}),
        ({"left": (1, 3, 64, 64), "right": (1, 3, 64, 64)},
         {"flow": (1, 2, 64, 64), "warped": (1, 3, 64, 64)}),
        ({"x": FRAME, "a": STATE, "b": STATE}, {"y": (1, 1), "p": STATE, "q": STATE}),
        ({"x": FRAME, "h": STATE}, {"y": (1, 1), "hn": (2, 1, 64)}),
        ({"x": FRAME, "h": STATE}, {"y": (1, 1), "h_out": STATE, "hn": STATE}),
    ],
)  # fmt: skip
def test_what_is_no_state_or_not_certain_is_left_out(
    inputs: dict[str, tuple[int, ...]], outputs: dict[str, tuple[int, ...]]
) -> None:
    assert guess_feedback(graph(inputs, outputs)) == {}


def test_states_of_a_layer_are_found_whatever_their_names() -> None:
    model = layer("LSTM", states="inputs", steps=1)
    names = {"h": "onnx::a", "c": "onnx::b", "Y_h": "45", "Y_c": "46"}
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in [*model.graph.input, *model.graph.output]:
        value.name = names.get(value.name, value.name)
    found = guess_feedback(import_model(read_model(model)))
    assert found == {"onnx::a": "45", "onnx::b": "46"}


def test_carried_states_are_found() -> None:
    options = NetworkOptions(carry_state=True)
    found = guess_feedback(import_model(read_model(layer("LSTM", outputs="Y")), options))
    assert found == {"layer/h": "layer/h_out", "layer/c": "layer/c_out"}
