"""What is not native must still give the right answer, in as few calls of onnxruntime as possible,
or a message that names it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from mquans.errors import UnsupportedOperatorError
from mquans.graph import Fallback, Reshape
from mquans.onnx import import_model, read_model, to_onnx
from mquans.onnx.call import Call
from mquans.onnx.rules import RULES_BY_DOMAIN
from mquans.runtime.reference.interpreter import ReferenceNetwork

from .conftest import Check, build, kinds, op, run_onnxruntime, values


def test_integer_chains_become_one_fallback(check: Check) -> None:
    nodes = [
        op("Relu", "x", "h"),
        op("Greater", "h t", "g"),
        op("Cast", "g", "i", to=onnx.TensorProto.INT64),
        op("ReduceSum", "i", "s", keepdims=1, axes=[1]),
        op("Cast", "s", "f", to=onnx.TensorProto.FLOAT),
        op("Mul", "h f", "y"),
    ]
    graph = check(
        build(nodes, {"x": (2, 5)}, ["y"], {"t": np.float32(0.3)}, opset=11), fallbacks=True
    )
    assert kinds(graph) == ["Unary:relu", "Binary:less", "Fallback", "Binary:mul"]
    fallback = graph.nodes[2].op
    assert isinstance(fallback, Fallback)
    assert fallback.op_types == ("ReduceSum", "Cast")
    assert fallback.reason.startswith("its input 'i' is int64; a Cast to float before it helps")


def test_the_fallback_model_carries_the_names_of_the_graph(check: Check) -> None:
    nodes = [op("Relu", "x", "h"), op("Identity", "h", "k"), op("CumSum", "k a", "c")]
    nodes += [op("Identity", "c", "y")]
    graph = check(build(nodes, {"x": (2, 5)}, ["y"], {"a": np.array(1)}), fallbacks=True)
    node = next(node for node in graph.nodes if isinstance(node.op, Fallback))
    assert isinstance(node.op, Fallback)
    model = onnx.load_model_from_string(node.op.model)
    assert tuple(value.name for value in model.graph.input) == node.inputs
    assert tuple(value.name for value in model.graph.output) == node.outputs


def test_fallbacks_are_not_merged_around_native_nodes(check: Check) -> None:
    """Two fallback subgraphs with a path through a native node between them would close a cycle."""
    nodes = [
        op("CumSum", "x a", "p"),
        op("Relu", "p", "r"),
        op("CumSum", "p a", "q"),
        op("Einsum", "q r r", "w", equation="ij,ij,ij->ij"),
        op("CumSum", "w a", "y"),
    ]
    constants = {"a": np.array(1)}
    graph = check(build(nodes, {"x": (2, 3)}, ["y"], constants), fallbacks=True)
    assert kinds(graph) == ["Fallback", "Unary:relu", "Fallback"]


def test_values_of_changing_size_stay_inside_fallbacks() -> None:
    nodes = [
        op("NonZero", "x", "n"),
        op("Transpose", "n", "t", perm=[1, 0]),
        op("GatherND", "x t", "picked"),
        op("ReduceSum", "picked", "s", keepdims=0),
        op("Relu", "s", "y"),
    ]
    model = build(nodes, {"x": (2, 3)}, ["y", "picked"], {})
    graph = import_model(read_model(model))
    assert graph.types["picked"].shape == (-1,)
    feeds = {"x": np.array([[1, 0, 2], [0, 3, 0]], np.float32)}
    found = ReferenceNetwork(graph).run(feeds)
    again = run_onnxruntime(to_onnx(graph), feeds, graph.outputs)
    for name, expected, written in zip(
        graph.outputs, run_onnxruntime(model, feeds, graph.outputs), again, strict=True
    ):
        np.testing.assert_allclose(found[name], expected, rtol=1e-6)
        np.testing.assert_allclose(written, expected, rtol=1e-6)


def test_detections_chosen_by_non_max_suppression(check: Check) -> None:
    nodes = [
        op("Relu", "x", "h"),
        op("Slice", "h zero four two", "b"),
        op("Slice", "h four five two", "s0"),
        op("Transpose", "s0", "s", perm=[0, 2, 1]),
        op("NonMaxSuppression", "b s n iou score", "picked"),
    ]
    constants = {
        "zero": np.array([0]), "four": np.array([4]), "five": np.array([5]), "two": np.array([2]),
        "n": np.array([3]), "iou": np.float32([0.5]), "score": np.float32([0.1]),
    }  # fmt: skip
    graph = check(build(nodes, {"x": (1, 9, 5)}, ["picked", "h"], constants), fallbacks=True)
    assert graph.types["picked"].dtype == "int64"


def test_topk_and_argmax(check: Check) -> None:
    nodes = [op("TopK", "x k", "v i", axis=1), op("ArgMax", "v", "a", axis=1)]
    graph = check(
        build(nodes, {"x": (2, 6)}, ["v", "i", "a"], {"k": np.array([3])}), fallbacks=True
    )
    assert kinds(graph) == ["Fallback"]


def test_sequences_stay_inside(check: Check) -> None:
    nodes = [
        op("SplitToSequence", "x", "q", axis=1, keepdims=0),
        op("SequenceAt", "q i", "e"),
        op("Relu", "e", "y"),
    ]
    graph = check(build(nodes, {"x": (2, 3)}, ["y"], {"i": np.array(1)}), fallbacks=True)
    assert kinds(graph) == ["Fallback"]


def test_a_loop_reads_values_from_around_it(check: Check) -> None:
    body = onnx.helper.make_graph(
        [
            op("Add", "state h", "next"),
            op("ReduceSum", "next", "sum", keepdims=0),
            op("Less", "sum limit", "on"),
        ],
        "body",
        [
            onnx.helper.make_tensor_value_info("step", onnx.TensorProto.INT64, []),
            onnx.helper.make_tensor_value_info("go", onnx.TensorProto.BOOL, []),
            onnx.helper.make_tensor_value_info("state", onnx.TensorProto.FLOAT, [2, 3]),
        ],
        [
            onnx.helper.make_tensor_value_info("on", onnx.TensorProto.BOOL, []),
            onnx.helper.make_tensor_value_info("next", onnx.TensorProto.FLOAT, [2, 3]),
        ],
    )
    nodes = [
        op("Relu", "x", "r"),
        op("Neg", "r", "h"),
        op("Loop", "count true x", "l", body=body),
        op("Abs", "l", "y"),
    ]
    constants = {"count": np.array(3), "true": np.array(True), "limit": np.float32(5)}
    graph = check(build(nodes, {"x": (2, 3)}, ["y"], constants), fallbacks=True)
    assert kinds(graph).count("Fallback") == 1


def test_an_operator_that_nobody_can_run_is_named() -> None:
    node = onnx.helper.make_node("Frobnicate", ["x"], ["y"], domain="com.example", name="frob")
    model = build([node], {"x": (2, 3)}, ["y"])
    model.opset_import.append(onnx.helper.make_opsetid("com.example", 1))
    with pytest.raises(UnsupportedOperatorError, match=r"frob.*com\.example\.Frobnicate"):
        import_model(read_model(model))


def test_attributes_that_a_rule_does_not_know_are_left_to_onnxruntime(
    check: Check, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Standards grow: SpaceToDepth had no mode for ten years, and the rule of then was wrong."""

    def of_then(call: Call) -> None:
        assert call.attribute("blocksize") == 2
        call.finish(Reshape((1, 12, 2, 3)), call.value())

    monkeypatch.setitem(RULES_BY_DOMAIN[""], "DepthToSpace", of_then)
    found = {}
    for mode in ("DCR", "CRD"):
        node = op("DepthToSpace", "x", "y", blocksize=2, mode=mode)
        found[mode] = import_model(read_model(build([node], {"x": (1, 12, 2, 3)}, ["y"])))
    assert kinds(found["DCR"]) == ["Reshape"]  # which is what leaving it out says
    graph = check(build([node], {"x": (1, 12, 2, 3)}, ["y"]), fallbacks=True)
    assert kinds(graph) == ["Fallback"]
    (node,) = graph.nodes
    assert isinstance(node.op, Fallback)
    assert node.op.reason == "its attribute 'mode' is not known"


def test_malformed_nodes_are_named_without_a_traceback() -> None:
    """onnxruntime has the last word on what it would accept."""
    for node in (
        op("MaxPool", "x", "y"),
        op("Concat", "x x", "y"),
        op("Flatten", "x", "y", axis=9),
    ):
        with pytest.raises(UnsupportedOperatorError, match=f"'y'.*{node.op_type}"):
            import_model(read_model(build([node], {"x": (1, 2, 4, 4)}, ["y"])))


def test_recurrent_layers_with_coupled_gates_are_fallbacks(check: Check) -> None:
    node = op("LSTM", "x w r", "h", hidden_size=4, input_forget=1)
    constants = {"w": values(1, 1, 16, 3), "r": values(2, 1, 16, 4), "one": np.array([1])}
    model = build([node, op("Squeeze", "h one", "y")], {"x": (5, 2, 3)}, ["y"], constants)
    assert kinds(check(model, fallbacks=True)) == ["Fallback", "Reshape"]


def test_integer_inputs_feed_an_embedding(check: Check) -> None:
    model = build([op("Gather", "table i", "e"), op("MatMul", "e w", "y")], {}, ["y"],
                  {"table": values(1, 5, 4), "w": values(2, 4, 3)})  # fmt: skip
    model.graph.input.append(
        onnx.helper.make_tensor_value_info("i", onnx.TensorProto.INT64, [1, 6])
    )
    graph = check(model, feeds={"i": np.array([[0, 4, 2, 2, 1, 3]])}, fallbacks=True)
    assert graph.dtype("i") == "int64"
    assert kinds(graph) == ["Fallback", "Linear"]


def test_models_that_onnxruntime_saved_for_itself_say_so(tmp_path: Path) -> None:
    """At its highest level convolutions are kernels of its own, of which nothing is reused."""
    import onnxruntime

    plain = build(
        [op("Conv", "x w", "a", pads=[1] * 4), op("Relu", "a", "y")],
        {"x": (1, 16, 8, 8)}, "y", {"w": np.ones((16, 16, 3, 3))},
    )  # fmt: skip
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.save_model_format", "ONNX")
    options.optimized_model_filepath = str(tmp_path / "saved.onnx")
    onnxruntime.InferenceSession(plain.SerializeToString(), options)
    graph = import_model(read_model(options.optimized_model_filepath))
    (node,) = graph.nodes
    assert isinstance(node.op, Fallback)
    assert "save the model at level 'extended'" in node.op.reason
