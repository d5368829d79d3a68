"""LSTM, GRU and RNN in every variant that ONNX has, against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from mquans.graph import GATES, Graph, Linear, Recurrence
from mquans.onnx import import_model, read_model, state_value, to_onnx
from mquans.onnx.rules.recurrent import KINDS
from mquans.runtime.reference.interpreter import ReferenceNetwork

from .conftest import Check, build, kinds, op, relative_error, run_onnxruntime, values

FEATURES, HIDDEN = 5, 3


def layer(
    kind: str,
    *,
    steps: int = 4,
    batch: int = 2,
    direction: str = "forward",
    bias: bool = True,
    states: str = "none",
    lengths: list[int] | None = None,
    peepholes: bool = False,
    outputs: str = "Y Y_h Y_c",
    opset: int = 17,
    **attributes: Any,
) -> onnx.ModelProto:
    """One layer; states: none, zeros, constants or inputs."""
    count = 2 if direction == "bidirectional" else 1
    gates = GATES[KINDS[kind]]
    constants: dict[str, Any] = {
        "W": values(1, count, gates * HIDDEN, FEATURES),
        "R": values(2, count, gates * HIDDEN, HIDDEN),
    }
    inputs = {"X": (steps, batch, FEATURES)}
    names = ["X", "W", "R", "-", "-", "-", "-", "-"]
    if bias:
        constants["B"] = values(3, count, 2 * gates * HIDDEN)
        names[3] = "B"
    if lengths is not None:
        constants["lengths"] = np.array(lengths, np.int32)
        names[4] = "lengths"
    if states != "none":
        for index, name in enumerate(("h", "c")[: 2 if kind == "LSTM" else 1]):
            names[5 + index] = name
            shape = (count, batch, HIDDEN)
            if states == "inputs":
                inputs[name] = shape
            else:
                scale = 1.0 if states == "constants" else 0.0
                constants[name] = values(4 + index, *shape) * scale
    if peepholes:
        constants["P"] = values(6, count, 3 * HIDDEN)
        names[7] = "P"
    wanted = outputs if kind == "LSTM" else outputs.replace("Y_c", "").strip()
    node = op(kind, " ".join(names), "Y Y_h Y_c" if kind == "LSTM" else "Y Y_h",
              direction=direction, hidden_size=HIDDEN, **attributes)  # fmt: skip
    node.name = "layer"
    while not node.input[-1]:
        node.input.pop()
    return build([node], inputs, wanted.split(), constants, opset=opset)


def recurrences(graph: Graph) -> list[Recurrence]:
    return [node.op for node in graph.nodes if isinstance(node.op, Recurrence)]


KIND = pytest.mark.parametrize("kind", KINDS)


@KIND
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("states", ["none", "zeros", "constants", "inputs"])
def test_directions_and_initial_states(
    check: Check, kind: str, direction: str, states: str
) -> None:
    graph = check(layer(kind, direction=direction, states=states))
    reverse = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[direction]
    assert [found.reverse for found in recurrences(graph)] == reverse


@KIND
@pytest.mark.parametrize("opset", [9, 14, 22])
@pytest.mark.parametrize("bias", [True, False])
def test_opsets_with_and_without_bias(check: Check, kind: str, opset: int, bias: bool) -> None:
    check(layer(kind, opset=opset, bias=bias, states="inputs"))


@KIND
def test_products_of_a_direction_have_the_names_of_the_layer(kind: str) -> None:
    graph = import_model(read_model(layer(kind, direction="bidirectional")))
    names = [node.name for node in graph.reuse_layers()]
    assert names == ["layer/input", "layer", "layer/reverse/input", "layer/reverse"]


@KIND
@pytest.mark.parametrize(("steps", "batch"), [(4, 2), (1, 0)])
def test_rows_of_one_step_are_compared_with_the_step_before(
    check: Check, kind: str, steps: int, batch: int
) -> None:
    graph = check(layer(kind, steps=steps, states="inputs"))
    assert [node.op.batch for node in graph.nodes if isinstance(node.op, Linear)] == [batch]


@KIND
@pytest.mark.parametrize("outputs", ["Y", "Y_h", "Y_c"])
def test_only_what_is_read_is_computed(check: Check, kind: str, outputs: str) -> None:
    if outputs == "Y_c" and kind != "LSTM":
        pytest.skip("it has no cell state")
    graph = check(layer(kind, outputs=outputs, batch=1))
    assert len(graph.outputs) == 1
    assert kinds(graph).count("Reshape") <= 1


@KIND
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_sequences_of_different_lengths(check: Check, kind: str, direction: str) -> None:
    model = layer(kind, direction=direction, lengths=[4, 2], states="inputs")
    assert recurrences(check(model))[0].lengths == (4, 2)


def test_equal_lengths_are_dropped(check: Check) -> None:
    assert recurrences(check(layer("LSTM", lengths=[4, 4])))[0].lengths == ()


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
@pytest.mark.parametrize("clip", [{}, {"clip": 0.3}])
def test_peepholes(check: Check, direction: str, clip: dict[str, float]) -> None:
    check(layer("LSTM", peepholes=True, direction=direction, states="inputs", **clip))


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("reset_after", [0, 1])
@pytest.mark.parametrize("clip", [{}, {"clip": 0.3}])
def test_gru_resets_before_or_after_the_product(
    check: Check, direction: str, reset_after: int, clip: dict[str, float]
) -> None:
    check(layer("GRU", direction=direction, linear_before_reset=reset_after, states="inputs",
                **clip))  # fmt: skip


@KIND
def test_sums_are_clipped(check: Check, kind: str) -> None:
    graph = check(layer(kind, clip=0.25))
    assert recurrences(graph)[0].clip == 0.25


@KIND
def test_activations_with_parameters(check: Check, kind: str) -> None:
    """alpha and beta are given to those activations that have them, in order."""
    names = {"LSTM": ["HardSigmoid", "Elu", "Softsign"], "GRU": ["HardSigmoid", "LeakyRelu"],
             "RNN": ["LeakyRelu"]}[kind]  # fmt: skip
    parameters = {"activation_alpha": [0.3, 0.7], "activation_beta": [0.4]}
    if kind == "RNN":
        parameters = {"activation_alpha": [0.3]}
    check(layer(kind, activations=names, **parameters))
    check(layer(kind, activations=names))


def test_each_direction_has_its_own_activations(check: Check) -> None:
    graph = check(layer("RNN", direction="bidirectional", activations=["Relu", "Sigmoid"]))
    assert [found.activations[0].kind for found in recurrences(graph)] == ["relu", "sigmoid"]


@KIND
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_batch_first(kind: str, direction: str) -> None:
    """onnxruntime has no such layers, so the same layer in time-first order is the reference."""
    model = layer(kind, direction=direction, states="inputs")
    turned = layer(kind, direction=direction, states="inputs", layout=1)
    for value in turned.graph.input:
        dims = value.type.tensor_type.shape.dim
        dims[0].dim_value, dims[1].dim_value = dims[1].dim_value, dims[0].dim_value
    graph = import_model(read_model(turned))
    feeds = {v.name: values(9, *graph.shape(v.name)) for v in turned.graph.input}
    names = [value.name for value in model.graph.output]
    plain = {name: np.ascontiguousarray(x.swapaxes(0, 1)) for name, x in feeds.items()}
    expected = run_onnxruntime(model, plain, names)
    written = run_onnxruntime(to_onnx(graph), feeds, names)
    found = ReferenceNetwork(graph).run(feeds)
    for name, reference, again in zip(names, expected, written, strict=True):
        order = (2, 0, 1, 3) if name == "Y" else (1, 0, 2)
        assert relative_error(again, reference.transpose(order)) < 1e-10
        assert relative_error(found[name], reference.transpose(order)) < 1e-10


def test_layers_without_a_native_form_say_why() -> None:
    coupled = import_model(read_model(layer("LSTM", input_forget=1)))
    scaled = import_model(read_model(layer("RNN", activations=["ScaledTanh"])))
    model = layer("GRU", lengths=[4, 2])
    model.graph.initializer.remove(next(t for t in model.graph.initializer if t.name == "lengths"))
    model.graph.input.append(
        onnx.helper.make_tensor_value_info("lengths", onnx.TensorProto.INT32, [2])
    )
    reasons = ["coupled", "ScaledTanh has no native form", "'lengths' is int32"]
    for graph, reason in zip([coupled, scaled, import_model(read_model(model))], reasons,
                             strict=True):  # fmt: skip
        assert kinds(graph) == ["Fallback"]
        assert reason in graph.nodes[0].op.reason


def rows_before(graph: Graph, feeds: dict[str, np.ndarray]) -> np.ndarray:
    """h before every step, from as many runs as there are steps."""
    (node,) = [node for node in graph.nodes if isinstance(node.op, Recurrence)]
    steps = graph.shape("X")[0]
    y = ReferenceNetwork(graph).run(feeds, [node.outputs[0]])[node.outputs[0]]
    first = feeds["h"] if "h" in feeds else np.zeros_like(y[:1])
    if node.op.reverse:
        return np.concatenate([y[1:], first])
    return np.concatenate([first, y[: steps - 1]])


@KIND
@pytest.mark.parametrize("direction", ["forward", "reverse"])
@pytest.mark.parametrize("states", ["none", "inputs"])
@pytest.mark.parametrize("steps", [1, 4])
def test_what_the_recurrent_product_reads_can_be_returned(
    kind: str, direction: str, states: str, steps: int
) -> None:
    """Calibration takes ranges of it."""
    graph = import_model(read_model(layer(kind, direction=direction, states=states, steps=steps)))
    (node,) = [node for node in graph.nodes if isinstance(node.op, Recurrence)]
    feeds = {name: values(8, *graph.shape(name)) for name in graph.inputs}
    model = to_onnx(graph, outputs=[*graph.outputs, state_value(node)])
    onnx.checker.check_model(model, full_check=True)
    found = run_onnxruntime(model, feeds, [state_value(node)])[0]
    before = rows_before(graph, feeds)
    assert relative_error(found[..., :HIDDEN], before) < 1e-10
    if kind != "GRU":
        assert found.shape == before.shape
        return
    p = ReferenceNetwork(graph).run(feeds, [node.inputs[0]])[node.inputs[0]]
    sums = p + before @ graph.constants[node.inputs[1]]
    reset = 1 / (1 + np.exp(-sums[..., HIDDEN : 2 * HIDDEN]))
    assert relative_error(found[..., HIDDEN:], reset * before) < 1e-10


def test_before_the_end_of_a_short_sequence_time_runs_back_from_its_first_state() -> None:
    graph = import_model(
        read_model(layer("RNN", direction="reverse", states="inputs", lengths=[4, 2]))
    )
    (node,) = [node for node in graph.nodes if isinstance(node.op, Recurrence)]
    feeds = {name: values(8, *graph.shape(name)) for name in graph.inputs}
    found = run_onnxruntime(to_onnx(graph, outputs=[state_value(node)]), feeds,
                            [state_value(node)])[0]  # fmt: skip
    np.testing.assert_array_equal(found[1, 1], feeds["h"][0, 1])
    np.testing.assert_allclose(found[:3, 0], rows_before(graph, feeds)[:3, 0], atol=1e-6)


@KIND
@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_a_written_layer_imports_to_the_same_graph(kind: str, direction: str) -> None:
    graph = import_model(read_model(layer(kind, direction=direction, states="inputs")))
    again = import_model(read_model(to_onnx(graph)))
    ours = [(type(node.op), graph.shape(node.inputs[0])) for node in graph.reuse_layers()]
    assert ours == [(type(n.op), again.shape(n.inputs[0])) for n in again.reuse_layers()]


@KIND
def test_a_recurrence_whose_input_product_is_wanted_is_written_without_it(kind: str) -> None:
    graph = import_model(read_model(layer(kind, states="inputs")))
    (node,) = [node for node in graph.nodes if isinstance(node.op, Recurrence)]
    wanted = [node.inputs[0], *graph.outputs, state_value(node)]
    feeds = {name: values(8, *graph.shape(name)) for name in graph.inputs}
    found = run_onnxruntime(to_onnx(graph, outputs=wanted), feeds, wanted)
    expected = run_onnxruntime(to_onnx(graph, outputs=wanted[1:]), feeds, wanted[1:])
    for value, reference in zip(found[1:], expected, strict=True):
        assert relative_error(value, reference) < 1e-10
