"""What onnxruntime refuses is refused when a model is read, by a sentence that names the node."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from mquans.errors import ModelError
from mquans.onnx import import_model, read_model

from .conftest import build, op, run_onnxruntime, values

X = {"x": (1, 4, 8, 8)}
WEIGHTS = {
    "w": values(1, 6, 4, 3, 3),
    "t": values(2, 4, 6, 3, 3),
    "five": values(3, 5),
    "ones": np.ones((2, 3), np.int64),
    "double": np.ones(1, np.int64),
}


def refused(model: onnx.ModelProto, message: str) -> None:
    """Both onnxruntime, on load or at the first run, and the importer refuse it."""
    shape = tuple(dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim)
    with pytest.raises(Exception, match="ONNXRuntimeError"):
        run_onnxruntime(
            model, {"x": np.ones(shape, np.float32)}, [o.name for o in model.graph.output]
        )
    with pytest.raises(ModelError, match=message):
        import_model(read_model(model))


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (op("Conv", "x w", "y", kernel_shape=[1, 3]), r"\[1, 3\] is not that of weights"),
        (op("ConvTranspose", "x t", "y", kernel_shape=[2, 2]), "is not that of weights"),
        (op("ConvTranspose", "x t", "y", output_padding=[0, 3]), r"output_padding \[0, 3\]"),
        (op("ConvTranspose", "x t", "y", dilations=[0, 1]), "dilations"),
        (op("Conv", "x w", "y", dilations=[1, 0]), "dilations"),
        (op("Conv", "x w", "y", strides=[0, 0]), "strides"),
        (op("Conv", "x w", "y", pads=[1, 1]), "pads"),
        (op("Conv", "x w", "y", auto_pad="SAME"), "AutoPad"),
        (op("Conv", "x w", "y", group=0), "group"),
        (op("Conv", "x w five", "y"), r"bias of shape \[5\] meets 6 filters"),
        (op("MaxPool", "x", "y", kernel_shape=[0, 1]), "kernel_shape"),
        (op("MaxPool", "x", "y", kernel_shape=[2, 2], dilations=[1, 0]), "dilations"),
        (op("AveragePool", "x", "y", kernel_shape=[2, 2], pads=[0, 2, 0, 2]), "smaller than"),
        (op("LRN", "x", "y", size=2), "size"),
        (op("Clip", "x five", "y"), r"bound min has the shape \[5\]"),
        (op("LayerNormalization", "x five", "y"), "broadcast"),
        (op("Add", "x double", "y"), "different types"),
        (op("Relu", "x x", "y"), "input size 2"),
        (op("Relu", "x", "y", alpha=1.0), "alpha"),
        (op("Softmax", "x", "y", axis=1.5), "axis"),
        (op("Transpose", "x", "y", perm=[0, 0, 1, 2]), "perm"),
        (op("DepthToSpace", "x", "y", blocksize=0), "[Bb]locksize"),
        (op("Split", "x", "y y", axis=1), "'y', which is there already"),
    ],
    ids=lambda value: value.op_type if isinstance(value, onnx.NodeProto) else "",
)
def test_attributes_and_shapes_that_do_not_fit(node: onnx.NodeProto, message: str) -> None:
    refused(build([node], X, ["y"], WEIGHTS), rf"node 'y'.*{node.op_type}.*{message}")


@pytest.mark.parametrize(
    ("pads", "mode"), [([0, 0, 8, 0, 0, 0, 0, 0], "reflect"), ([0, 4, 0, 0] * 2, "reflect")]
)
def test_reflections_of_more_than_there_is(pads: list[int], mode: str) -> None:
    model = build([op("Pad", "x p", "y", mode=mode)], X, ["y"], {"p": np.array(pads)})
    refused(model, r"node 'y' \(Pad\).*reflects")


def branch(*nodes: onnx.NodeProto) -> onnx.GraphProto:
    out = onnx.helper.make_tensor_value_info("o", onnx.TensorProto.FLOAT, None)
    return onnx.helper.make_graph(list(nodes), "branch", [], [out])


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([op("Relu", "x", "y"), op("Exp", "x", "y")], r"'y' \(Exp\): it makes the value 'y'"),
        ([op("Exp", "x", "w"), op("Relu", "w", "y")], r"'w' \(Exp\): it makes the value 'w'"),
        ([op("Exp", "x", "x"), op("Relu", "x", "y")], r"'x' \(Exp\): it makes the value 'x'"),
        ([op("Add", "x ghost", "y")], r"'y' \(Add\): it reads 'ghost'"),
        (
            [
                op("If", "c", "y", else_branch=branch(op("Relu", "x", "o")),
                   then_branch=branch(op("Mul", "x ghost", "o"))),
            ],
            r"'y' \(If\), node 'o' \(Mul\): it reads 'ghost'",
        ),
        (
            [
                op("If", "c", "y", else_branch=branch(op("Relu", "x", "o")),
                   then_branch=branch(op("Relu", "x", "o"), op("Exp", "x", "o"))),
            ],
            r"'o' \(Exp\): it makes the value 'o'",
        ),
    ],
)  # fmt: skip
def test_values_have_one_source(nodes: list[onnx.NodeProto], message: str) -> None:
    """Which of two was meant nobody knows, and engines differ."""
    constants = {"w": values(1, 4, 4), "c": np.array(True)}
    refused(build(nodes, X, ["y"], constants), message)


def test_one_bad_node_among_many_is_named() -> None:
    nodes = [op("Relu", "x", "a0")]
    nodes += [op("Neg", f"a{i}", f"a{i + 1}") for i in range(20)]
    nodes[13] = op("Softmax", "a12", "a13", axis=4)
    nodes[13].name = "head/softmax"
    refused(build(nodes, X, ["a20"]), r"node 'head/softmax'.*Softmax.*'axis' must be in")


def functions(*bodies: tuple[str, list[onnx.NodeProto]], call: str) -> onnx.ModelProto:
    model = build([op(call, "x", "y", domain="own")], X, ["y"])
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("own", 1)]
    model.opset_import.append(opsets[1])
    for name, nodes in bodies:
        function = onnx.helper.make_function("own", name, ["a"], ["b"], nodes, opsets)
        model.functions.append(function)
    return model


def test_functions_that_call_each_other_in_a_circle() -> None:
    model = functions(
        ("F", [op("G", "a", "b", domain="own")]), ("G", [op("F", "a", "b", domain="own")]), call="F"
    )
    with pytest.raises(ModelError, match="calls itself"):
        read_model(model)


def test_two_weights_of_one_name() -> None:
    model = build([op("MatMul", "x w", "y")], {"x": (2, 4)}, ["y"], {"w": values(1, 4, 3)})
    model.graph.initializer.append(model.graph.initializer[0])
    with pytest.raises(ModelError, match="two of its weights have the name 'w'"):
        read_model(model)


@pytest.mark.parametrize(("kind", "shape"), [(1, [4, 4]), (1, [4, 3, 1]), (7, [4, 3])])
def test_weights_that_are_listed_as_other_inputs(kind: int, shape: list[int]) -> None:
    model = build([op("MatMul", "x w", "y")], {"x": (2, 4)}, ["y"], {"w": values(1, 4, 3)})
    model.graph.input.append(onnx.helper.make_tensor_value_info("w", kind, shape))
    refused(model, "weight 'w' of shape .4, 3. is listed as an input of another")


@pytest.mark.parametrize("hidden", [2, 4, 1 << 30])
def test_hidden_units_that_are_not_those_of_the_weights(hidden: int) -> None:
    weights = {"w": values(1, 1, 9, 4), "r": values(2, 1, 9, 3)}
    model = build([op("GRU", "x w r", "y", hidden_size=hidden)], {"x": (5, 1, 4)}, ["y"], weights)
    refused(model, rf"node 'y' .GRU.*{hidden} hidden units")


def test_a_format_of_the_future() -> None:
    model = build([op("Relu", "x", "y")], X, ["y"])
    model.ir_version = onnx.IR_VERSION + 1
    with pytest.raises(ModelError, match=r"ONNX format.*Upgrade"):
        read_model(model)


@pytest.mark.parametrize("size", [-1, 1 << 40])
def test_weights_of_impossible_size(size: int) -> None:
    model = build([op("MatMul", "x w", "y")], {"x": (2, 4)}, ["y"], {"w": values(1, 4, 3)})
    model.graph.initializer[0].dims[0] = size
    with pytest.raises(ModelError, match=r"tensor 'w'.*(negative|larger)"):
        read_model(model)


def test_what_onnx_does_not_define_is_left_to_the_translation(check: Any) -> None:
    """Operators of onnxruntime's own run as fallback subgraphs."""
    model = build([op("QuickGelu", "x", "y", domain="com.microsoft", alpha=1.5)], X, ["y"])
    model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    check(model, fallbacks=True)


def test_weights_need_not_be_loaded_to_judge_a_network(check: Any) -> None:
    """Large weights are arguments there; a shape that is as large as weights is still a shape."""
    check(build([op("MatMul", "x w", "y")], {"x": (2, 64)}, ["y"], {"w": values(1, 64, 64)}))
    many = np.zeros((2000, 2), np.int64)
    check(
        build([op("GatherND", "x many", "y")], {"x": (4, 4)}, ["y"], {"many": many}), fallbacks=True
    )
