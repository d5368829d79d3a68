"""Constant inputs and carried states: edits of the model that every engine runs."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from mquans.errors import ModelError
from mquans.graph import Recurrence
from mquans.onnx import import_model, read_model, to_onnx, whole_feedback
from mquans.onnx.applied_options import apply_options
from mquans.onnx.flattening import flatten
from mquans.plan import NetworkOptions

from .conftest import build, kinds, op, relative_error, run_onnxruntime, values
from .test_recurrent import HIDDEN, layer


def branch(name: str, output: str, factor: float) -> onnx.GraphProto:
    """x times a constant of the branch's own."""
    nodes = [op("Mul", "x factor", output)]
    own = onnx.numpy_helper.from_array(np.array([factor], np.float32), "factor")
    return helper.make_graph(nodes, name, [], [onnx.ValueInfoProto(name=output)], [own])


def two_rates(dtype: int = TensorProto.INT64, shape: tuple[int, ...] = ()) -> onnx.ModelProto:
    """y = 2 x at 16 kHz; at 8 kHz 3 x when x has two columns, else 5 x: an If within an If."""
    inner = [
        op("Shape", "x", "size"),
        op("Gather", "size one", "columns"),
        op("Equal", "columns two", "narrow"),
    ]
    inner.append(
        helper.make_node(
            "If", ["narrow"], ["slow"],
            then_branch=branch("narrow_branch", "three", 3),
            else_branch=branch("wide_branch", "five", 5),
        )
    )  # fmt: skip
    slow = helper.make_graph(inner, "slow_branch", [], [onnx.ValueInfoProto(name="slow")])
    nodes = [
        op("ReduceMax", "sr", "rate", keepdims=0),
        op("Equal", "rate high", "fast"),
        helper.make_node(
            "If", ["fast"], ["y"], then_branch=branch("fast_branch", "double", 2),
            else_branch=slow,
        ),
    ]  # fmt: skip
    constants = {"high": np.array(16000, helper.tensor_dtype_to_np_dtype(dtype)),
                 "one": np.array(1), "two": np.array(2)}  # fmt: skip
    model = build(nodes, {"x": (1, 2)}, [], constants)
    model.graph.output.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, None]))
    model.graph.input.append(helper.make_tensor_value_info("sr", dtype, list(shape)))
    return model


@pytest.mark.parametrize(("rate", "columns", "factor"), [(16000, 2, 2), (8000, 2, 3), (8000, 4, 5)])
def test_branches_on_a_constant_input_are_resolved(rate: int, columns: int, factor: int) -> None:
    options = NetworkOptions({"x": (1, columns)}, {"sr": rate})
    graph = import_model(read_model(two_rates()), options)
    assert graph.inputs == ("x",)
    assert kinds(graph) == ["Binary:mul"]
    x = values(1, 1, columns)
    np.testing.assert_allclose(run_onnxruntime(to_onnx(graph), {"x": x}, ["y"])[0], factor * x)


@pytest.mark.parametrize("shape", [(), (1,), (3, 2)])
@pytest.mark.parametrize("dtype", [TensorProto.INT64, TensorProto.INT32, TensorProto.FLOAT])
def test_a_constant_fills_an_input_of_any_type_and_shape(
    dtype: int, shape: tuple[int, ...]
) -> None:
    model = read_model(two_rates(dtype, shape))
    graph = import_model(model, NetworkOptions({"x": (1, 2)}, {"sr": 16000}))
    assert kinds(graph) == ["Binary:mul"]


def test_constants_that_do_not_fit_are_named() -> None:
    model = read_model(two_rates())
    with pytest.raises(ModelError, match=r"no input 'rate'; its inputs are 'x', 'sr'"):
        import_model(model, NetworkOptions({}, {"rate": 16000}))
    with pytest.raises(ModelError, match=r"'sr' takes int64, which 0\.5 is not"):
        import_model(model, NetworkOptions({}, {"sr": 0.5}))
    for rate in (math.nan, math.inf, 1e300, "fast", None):
        text = re.escape(f"'sr' takes int64, which {rate} is not")
        with pytest.raises(ModelError, match=text):
            import_model(model, NetworkOptions({}, {"sr": rate}))  # type: ignore[dict-item]
    small = read_model(two_rates(TensorProto.FLOAT16))
    with pytest.raises(ModelError, match="'sr' takes float16, which 1000000 is not"):
        import_model(small, NetworkOptions({}, {"sr": 1000000}))
    unknown = read_model(two_rates(shape=(None, None)))  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=r"'sr' \[1,\?\] is not fixed.*--input-shape sr:1,N"):
        import_model(unknown, NetworkOptions({}, {"sr": 16000}))
    given = NetworkOptions({"sr": (1, 4)}, {"sr": 16000})
    assert import_model(unknown, given).inputs == ("x",)


def test_dimensions_of_one_name_have_one_size() -> None:
    model = build([op("Mul", "x h", "y")], {"x": ("batch", 3), "h": ("batch", 3)}, ["y"])
    graph = import_model(read_model(model), NetworkOptions({"x": (4, 3)}))
    assert graph.shape("h") == (4, 3)


def test_a_size_of_minus_one_is_not_fixed() -> None:
    """As older exporters of other frameworks write it."""
    model = build([op("Relu", "x", "y")], {"x": (-1, -1, 3)}, ["y"])
    with pytest.raises(ModelError, match=r"'x' \[1,\?,3\] is not fixed"):
        import_model(read_model(model))
    assert import_model(read_model(model), NetworkOptions({"x": (2, 5, 3)})).shape("y") == (2, 5, 3)


@pytest.mark.parametrize(
    ("feedback", "message"),
    [
        ({"state": "nothing"}, "'nothing' not an output"),
        ({"nothing": "next"}, "'nothing' is not an input"),
        ({"state": "state"}, "'state' not an output"),
        ({"state": "wide"}, r"'state' has shape \[1, 2\], but 'wide', .* \[1, 4\]"),
        ({"state": "whole"}, "type float32, but 'whole', .* int64"),
        ({"state": "next", "x": "y"}, "every input is a state"),
    ],
)
def test_feedback_that_does_not_fit_is_named(feedback: dict[str, str], message: str) -> None:
    nodes = [
        op("Add", "x state", "next"),
        op("Relu", "x", "y"),
        op("Concat", "x state", "wide", axis=1),
        op("Cast", "next", "whole", to=TensorProto.INT64),
    ]
    model = build(nodes, {"x": (1, 2), "state": (1, 2)}, ["y", "next", "wide"])
    model.graph.output.append(helper.make_tensor_value_info("whole", TensorProto.INT64, [1, 2]))
    with pytest.raises(ModelError, match=message):
        import_model(read_model(model), NetworkOptions(feedback=feedback))


def test_known_branches_are_taken_in_the_model_itself() -> None:
    options = NetworkOptions({"x": (1, 4)}, {"sr": 8000})
    proto, _ = apply_options(read_model(two_rates()), options)
    flat, _ = flatten(proto, "small", options.input_shapes)
    assert "If" not in [node.op_type for node in flat.graph.node]
    x = values(1, 1, 4)
    del flat.graph.input[0].type.tensor_type.shape.dim[1]
    flat.graph.input[0].type.tensor_type.shape.dim.add(dim_value=4)
    np.testing.assert_allclose(run_onnxruntime(flat, {"x": x}, ["y"])[0], 5 * x)


def halves(model: onnx.ModelProto, graph_inputs: dict[str, Any]) -> None:
    """A long sequence in one go, and in two halves with the states carried."""
    names = [value.name for value in model.graph.output]
    (whole,) = run_onnxruntime(model, graph_inputs, names)
    x = graph_inputs["X"]
    half = len(x) // 2
    options = NetworkOptions({"X": (half, *x.shape[1:])}, carry_state=True)
    file = read_model(model)
    graph = import_model(file, options)
    feedback = whole_feedback(file, options)
    assert set(graph.inputs) == {"X", *feedback}
    states = {name: np.zeros(graph.shape(name), np.float32) for name in feedback}
    written, found = to_onnx(graph), []
    for part in (x[:half], x[half:]):
        outputs = dict(
            zip(graph.outputs, run_onnxruntime(written, {"X": part} | states, graph.outputs),
                strict=True)
        )  # fmt: skip
        states = {name: outputs[output] for name, output in feedback.items()}
        found.append(outputs["Y"])
    assert relative_error(np.concatenate(found), whole) < 1e-10


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("states", ["none", "zeros"])
def test_a_stream_in_pieces_equals_the_whole(kind: str, states: str) -> None:
    model = layer(kind, steps=8, states=states, outputs="Y")
    for value in model.graph.input:
        value.type.tensor_type.shape.dim[0].Clear()
    halves(model, {"X": values(7, 8, 2, 5)})


def test_zero_states_are_seen_through_shape_arithmetic() -> None:
    """torch writes zeros that depend on the batch size, for all layers in one tensor."""
    nodes = [
        op("Shape", "X", "size"),
        op("Gather", "size one", "batch"),
        op("Concat", "layers batch hidden", "state_size", axis=0),
        op("ConstantOfShape", "state_size", "zeros"),
        op("Slice", "zeros zero one zero", "first"),
        op("Slice", "zeros one two zero", "second"),
        op("GRU", "X W R - - first", "a", hidden_size=HIDDEN),
        op("Squeeze", "a one", "b"),
        op("GRU", "b W2 R - - second", "c", hidden_size=HIDDEN),
        op("Squeeze", "c one", "Y"),
    ]
    constants = {"W": values(1, 1, 9, 5), "W2": values(2, 1, 9, 3), "R": values(3, 1, 9, 3),
                 "layers": np.array([2]), "hidden": np.array([3]), "zero": np.array([0]),
                 "one": np.array([1]), "two": np.array([2])}  # fmt: skip
    model = build(nodes, {"X": (None, 2, 5)}, ["Y"], constants)
    halves(model, {"X": values(7, 8, 2, 5)})


def test_a_layer_in_a_branch_carries_its_state() -> None:
    inner = op("RNN", "X W R", "seq", hidden_size=HIDDEN)
    then = helper.make_graph([inner], "on", [], [onnx.ValueInfoProto(name="seq")])
    other = helper.make_graph([op("Expand", "X size", "none")], "off", [],
                              [onnx.ValueInfoProto(name="none")])  # fmt: skip
    choice = helper.make_node("If", ["on"], ["Y"], then_branch=then, else_branch=other)
    nodes = [op("Greater", "sr zero", "on"), choice]
    constants = {"W": values(1, 1, 3, 5), "R": values(2, 1, 3, 3), "zero": np.array(0),
                 "size": np.array([1, 1, 1, 1])}  # fmt: skip
    model = build(nodes, {"X": (2, 1, 5)}, ["Y"], constants)
    model.graph.input.append(helper.make_tensor_value_info("sr", TensorProto.INT64, []))
    options = NetworkOptions({}, {"sr": 1}, carry_state=True)
    graph = import_model(read_model(model), options)
    assert len(whole_feedback(read_model(model), options)) == 1
    assert len(graph.inputs) == 2
    assert [node for node in graph.nodes if isinstance(node.op, Recurrence)]


def test_states_that_are_inputs_stay_the_users_own() -> None:
    model = layer("LSTM", states="inputs")
    with pytest.raises(ModelError, match="no LSTM, GRU or RNN whose state"):
        import_model(read_model(model), NetworkOptions(carry_state=True))
    named = NetworkOptions(feedback={"h": "Y_h", "c": "Y_c"})
    assert whole_feedback(read_model(model), named) == {"h": "Y_h", "c": "Y_c"}


@pytest.mark.parametrize("direction", ["reverse", "bidirectional"])
def test_time_cannot_run_backwards_on_a_stream(direction: str) -> None:
    with pytest.raises(ModelError, match=r"'layer' \(GRU\).*backwards in time"):
        import_model(
            read_model(layer("GRU", direction=direction)), NetworkOptions(carry_state=True)
        )


def test_a_learned_first_state_cannot_be_carried() -> None:
    with pytest.raises(ModelError, match="starts from constants other than zero"):
        import_model(read_model(layer("RNN", states="constants")), NetworkOptions(carry_state=True))


def test_a_plan_gives_shapes_for_carried_states_too() -> None:
    model = read_model(layer("LSTM", outputs="Y"))
    first = import_model(model, NetworkOptions(carry_state=True))
    shapes = {name: first.shape(name) for name in first.inputs}
    again = import_model(model, NetworkOptions(shapes, carry_state=True))
    assert again.inputs == first.inputs == ("X", "layer/h", "layer/c")
    assert again.outputs == ("Y", "layer/h_out", "layer/c_out")
