"""Loops of a known number of rounds, as torch.jit.script and Keras write recurrent networks, run in
the engine; in fallback subgraphs nothing of them would be reused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from mquans.onnx import import_model, read_model
from mquans.runtime.reference.interpreter import ReferenceNetwork

from .conftest import Check, build, kinds, op, values


def typed(name: str, shape: Sequence[int], code: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(name, code, list(shape))


def body(
    nodes: Sequence[onnx.NodeProto], outputs: Sequence[str], *, given: Sequence[str] = ("step",)
) -> onnx.GraphProto:
    """Of a Loop: the round, whether it goes on, and the state [2, 3]."""
    inputs = [typed("round", [], TensorProto.INT64), typed("go", [], TensorProto.BOOL)]
    return onnx.helper.make_graph(
        list(nodes),
        "body",
        [*inputs, *(typed(name, [2, 3]) for name in given)],
        [typed(outputs[0], [], TensorProto.BOOL), *(typed(name, [2, 3]) for name in outputs[1:])],
    )


LAYER = [op("MatMul", "step w", "product"), op("Tanh", "product", "next")]
ALWAYS = [*LAYER, op("Identity", "go", "on")]
LIMITED = [*LAYER, op("Less", "round last", "on")]

CONSTANTS: dict[str, Any] = {
    "w": values(1, 3, 3), "three": np.array(3), "true": np.array(True), "last": np.array(1),
    "many": np.array(10**9),
}  # fmt: skip


@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize(
    ("inputs", "nodes", "rounds"),
    [
        ("three true x", ALWAYS, 3),
        ("three - x", ALWAYS, 3),
        ("many true x", LIMITED, 2),
        ("- true x", LIMITED, 2),
    ],
    ids=["for", "without condition", "until", "while"],
)
def test_loops_become_their_rounds(
    check: Check, inputs: str, nodes: list[onnx.NodeProto], rounds: int, opset: int
) -> None:
    nodes = [
        op("Loop", inputs, "y z", body=body(nodes, ["on", "next", "product"])),
        op("Relu", "y", "r"),
    ]
    graph = check(build(nodes, {"x": (2, 3)}, ["r", "z"], CONSTANTS, opset=opset))
    assert kinds(graph).count("Linear") == rounds
    assert graph.shape("z") == (rounds, 2, 3)


def test_loops_in_loops_and_branches_in_loops(check: Check) -> None:
    """The branch depends on the round, which is known in each."""
    inner = op("Loop", "three go step", "deep", body=body(ALWAYS, ["on", "next"]))
    inner.attribute[0].g.input[2].name = "carried"
    inner.attribute[0].g.node[0].input[0] = "carried"
    branches = {
        f"{name}_branch": onnx.helper.make_graph(
            [op(kind, "deep", kind)], name, [], [typed(kind, [2, 3])]
        )
        for name, kind in (("then", "Neg"), ("else", "Abs"))
    }
    outer = [inner, op("Equal", "round one", "odd"), op("If", "odd", "out", **branches)]
    outer.append(op("Identity", "go", "again"))
    nodes = [op("Loop", "three true x", "y", body=body(outer, ["again", "out"]))]
    graph = check(build(nodes, {"x": (2, 3)}, ["y"], CONSTANTS | {"one": np.array(1)}))
    assert kinds(graph).count("Linear") == 9
    assert kinds(graph).count("Unary:neg") == 1


@pytest.mark.parametrize("inputs", ["many true x", "- true x"], ids=["too many", "without end"])
def test_loops_without_end_stay_as_they_are(inputs: str) -> None:
    """A file of a few hundred bytes may not become millions of nodes."""
    nodes = [op("Loop", inputs, "y", body=body(ALWAYS, ["on", "next"]))]
    graph = import_model(read_model(build(nodes, {"x": (2, 3)}, ["y"], CONSTANTS)))
    assert kinds(graph) == ["Fallback"]


def test_many_loops_are_not_written_out_beyond_the_limit_of_one() -> None:
    nodes = [
        op("Loop", f"most true x{i}", f"x{i + 1}", body=body(ALWAYS, ["on", "next"]))
        for i in range(8)
    ]
    constants = CONSTANTS | {"most": np.array(300)}
    graph = import_model(read_model(build(nodes, {"x0": (2, 3)}, ["x8"], constants)))
    assert 0 < kinds(graph).count("Fallback") < 8
    assert len(graph.nodes) < 4096


def test_a_loop_of_no_rounds_gives_what_it_was_given(check: Check) -> None:
    nodes = [op("Loop", "zero true x", "y", body=body(ALWAYS, ["on", "next"]))]
    constants = CONSTANTS | {"zero": np.array(0)}
    check(build(nodes, {"x": (2, 3)}, ["y"], constants), fallbacks=True)


@pytest.mark.parametrize("backwards", [0, 1])
def test_scans_become_their_rounds(check: Check, backwards: int) -> None:
    """In both directions, over and along other axes than the first, with two states."""
    scan = onnx.helper.make_graph(
        [
            op("Concat", "h e", "he", axis=1),
            op("MatMul", "he w", "product"),
            op("Tanh", "product", "next"),
            op("Add", "sum next", "total"),
            op("Identity", "next", "row"),
        ],
        "scan",
        [typed("h", [1, 3]), typed("sum", [1, 3]), typed("e", [1, 2])],
        [typed("next", [1, 3]), typed("total", [1, 3]), typed("row", [1, 3])],
    )
    nodes = [
        op(
            "Scan", "h0 s0 x", "h s y", body=scan, num_scan_inputs=1, scan_input_axes=[1],
            scan_input_directions=[backwards], scan_output_axes=[-1],
            scan_output_directions=[1 - backwards],
        )
    ]  # fmt: skip
    constants = {"w": values(2, 5, 3), "h0": np.zeros((1, 3)), "s0": np.zeros((1, 3))}
    model = build(nodes, {"x": (1, 4, 2)}, ["h", "s", "y"], constants)
    graph = check(model)
    assert kinds(graph).count("Linear") == 4


def test_scans_over_batches_are_left_to_onnxruntime() -> None:
    """Operator set 8 had other inputs, and rounds along the second axis."""
    rounds = onnx.helper.make_graph(
        [op("Add", "sum next", "total"), op("Identity", "total", "row")],
        "scan",
        [typed("sum", [2]), typed("next", [2])],
        [typed("total", [2]), typed("row", [2])],
    )
    node = op("Scan", "- first x", "y z", body=rounds, num_scan_inputs=1)
    model = build([node], {"first": (1, 2), "x": (1, 3, 2)}, ["y", "z"], opset=8)
    for value, shape in zip(model.graph.output, [(1, 2), (1, 3, 2)], strict=True):
        value.CopyFrom(typed(value.name, shape))
    graph = import_model(read_model(model))
    first, x = values(1, 1, 2), values(2, 1, 3, 2)
    found = ReferenceNetwork(graph).run({"first": first, "x": x})
    np.testing.assert_allclose(found["z"], first[:, None] + np.cumsum(x, axis=1), rtol=1e-6)


SEQUENCE = onnx.helper.make_sequence_type_proto(
    onnx.helper.make_tensor_type_proto(TensorProto.FLOAT, None)
)


def test_lists_that_loops_fill_are_joined(check: Check) -> None:
    """As torch.jit.script writes `torch.stack` of what a loop appended."""
    rounds = body([*ALWAYS, op("SequenceInsert", "list next", "longer")], ["on", "next"])
    rounds.input.append(onnx.ValueInfoProto(name="list", type=SEQUENCE))
    rounds.output.append(onnx.ValueInfoProto(name="longer", type=SEQUENCE))
    nodes = [
        op("SequenceEmpty", "", "none"),
        op("Loop", "three true x none", "end all", body=rounds),
        op("ConcatFromSequence", "all", "y", axis=0, new_axis=1),
        op("SequenceAt", "all at", "z"),
        op("SequenceLength", "all", "n"),
        op("Cast", "n", "count", to=TensorProto.FLOAT),
        op("Mul", "z count", "u"),
    ]
    constants = CONSTANTS | {"at": np.array(-2)}
    graph = check(build(nodes, {"x": (2, 3)}, ["y", "u"], constants))
    assert graph.shape("y") == (3, 2, 3)


def test_sequences_that_onnxruntime_reads_are_made_for_it(check: Check) -> None:
    """Which tensor is taken depends on the frame."""
    nodes = [
        op("Neg", "x", "minus"), op("SequenceConstruct", "x minus", "both"),
        op("ReduceMax", "x", "most", keepdims=0), op("Greater", "most zero", "more"),
        op("Cast", "more", "at", to=TensorProto.INT64), op("SequenceAt", "both at", "taken"),
        op("Relu", "taken", "y"),
    ]  # fmt: skip
    check(build(nodes, {"x": (2, 3)}, ["y"], {"zero": np.float32(0)}), fallbacks=True)


def test_rounds_with_parts_that_are_not_native_have_names_of_their_own(check: Check) -> None:
    """onnxruntime refuses a network in which a name stands twice."""
    part = op("CumSum", "product axis", "next", name="sum")
    rounds = body([LAYER[0], part, op("Identity", "go", "on")], ["on", "next"])
    nodes = [op("Loop", "three true x", "y", body=rounds)]
    constants = CONSTANTS | {"axis": np.array(1)}
    check(build(nodes, {"x": (2, 3)}, ["y"], constants), fallbacks=True)
