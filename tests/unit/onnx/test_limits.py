"""Small files that ask for all memory, or for ever, are refused before anything is computed."""

from __future__ import annotations

import resource
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto

from mquans.errors import ModelError, MquansError
from mquans.onnx import import_model, read_model
from mquans.onnx.timed_run import may_not_end
from mquans.runtime.session import Session

from .conftest import build, op, values

X = {"x": (1, 3, 8, 8)}
HUGE = 10**11


def ints(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def added(*nodes: onnx.NodeProto, **constants: Any) -> onnx.ModelProto:
    """A model that adds the sum of a constant `k` to its input."""
    tail = [op("ReduceSum", "k", "sum", keepdims=0), op("Add", "x sum", "y")]
    return build([*nodes, *tail], X, ["y"], constants)


@pytest.mark.parametrize(
    "model",
    [
        added(op("Range", "a b c", "k"), a=0.0, b=1e12, c=1.0),
        added(op("Pad", "a b", "k"), a=np.ones(1), b=ints(0, HUGE)),
        added(op("OneHot", "a b c", "k"), a=ints(1), b=ints(HUGE), c=np.array([0.0, 1.0])),
        added(op("MatMul", "a b", "k"), a=np.ones((50_000, 1)), b=np.ones((1, 50_000))),
        added(op("Mul", "a b", "k"), a=np.ones((50_000, 1)), b=np.ones((1, 50_000))),
        added(op("RandomUniform", "", "k", shape=[10**5, 10**5])),
        added(op("Mul", "a a", "b"), op("ConstantOfShape", "b", "k"), a=ints(10**6)),
        build([op("Tile", "x a", "y")], X, ["y"], {"a": ints(1, 1, 1, HUGE)}),
        build([op("Pad", "x a", "y")], X, ["y"], {"a": ints(0, 0, HUGE, 0, 0, 0, 0, HUGE)}),
        build([op("Upsample", "x a", "y")], X, ["y"], {"a": np.array([1.0, 1, 1e6, 1e6])}, opset=9),
        build([op("Relu", "x", "y")], {"x": (HUGE, 3)}, ["y"]),
    ],
    ids=lambda model: model.graph.node[0].op_type,
)  # fmt: skip
def test_tensors_are_no_larger_than_the_limit(model: onnx.ModelProto) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ModelError, match=r"larger than the \d+ numbers.*MQUANS_LIMITS=FACTOR"):
        import_model(read_model(model))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 << 10


@pytest.mark.parametrize(
    "model",
    [
        build([op("Conv", "x w", "y", pads=[HUGE] * 4)], X, ["y"], {"w": values(1, 2, 3, 3, 3)}),
        build([op("ConvTranspose", "x w", "y", strides=[HUGE] * 2)], X, ["y"],
              {"w": values(1, 3, 2, 3, 3)}),
        build([op("MaxPool", "x", "y", kernel_shape=[HUGE] * 2, pads=[HUGE - 1] * 4)], X, ["y"]),
    ],
    ids=lambda model: model.graph.node[0].op_type,
)  # fmt: skip
def test_windows_are_no_more_than_tables_hold(model: onnx.ModelProto) -> None:
    with pytest.raises(ModelError, match=r"node 'y'.*windows of \d+ are too many"):
        import_model(read_model(model))


def test_many_large_constants_are_limited_together() -> None:
    nodes = [op("ConstantOfShape", "a", f"k{i}") for i in range(20)]
    nodes += [op("ReduceSum", f"k{i}", f"s{i}", keepdims=0) for i in range(20)]
    nodes += [op("Sum", " ".join(f"s{i}" for i in range(20)), "k")]
    with pytest.raises(ModelError, match=r"'k\d+' .ConstantOfShape.*numbers are computed when"):
        import_model(read_model(added(*nodes, a=ints(1 << 23))))


@pytest.mark.parametrize(
    "node",
    [
        op("Conv", "a b", "k", pads=[60] * 4),
        op("MatMul", "a b", "k"),
        op("AveragePool", "a", "k", kernel_shape=[255, 255], pads=[127] * 4),
    ],
    ids=lambda node: node.op_type,
)
def test_constants_that_take_hours_are_refused(
    node: onnx.NodeProto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MQUANS_LIMITS", "0.01")
    square = values(1, 1, 8, 128, 128) if node.op_type != "MatMul" else values(1, 1000, 1000)
    model = added(node, a=square, b=square.swapaxes(0, 1).reshape(square.shape))
    with pytest.raises(ModelError, match=r"node 'k'.*multiplications to compute.*MQUANS_LIMITS"):
        import_model(read_model(model))


def looping(kind: str, body_node: onnx.NodeProto, times: int, *, at: str) -> onnx.ModelProto:
    """A loop of constants, or of the input's largest value."""
    info = onnx.helper.make_tensor_value_info
    body = onnx.helper.make_graph(
        [op("Identity", "c", "d"), body_node],
        "body",
        [info("i", TensorProto.INT64, []), info("c", TensorProto.BOOL, []),
         info("v", TensorProto.FLOAT, None)],
        [info("d", TensorProto.BOOL, []), info("w", TensorProto.FLOAT, None)],
    )  # fmt: skip
    first = [] if at == "import" else [op("ReduceMax", "x", "v0", keepdims=0)]
    loop = op(kind, "n t v0", "k", body=body)
    constants: dict[str, Any] = {"n": ints(times)[0], "t": np.array(True)}
    return added(*first, loop, **constants | ({"v0": np.ones(2)} if at == "import" else {}))


def test_constant_loops_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MQUANS_LIMITS", "0.02")
    endless = looping("Loop", op("Sin", "v", "w"), 1 << 62, at="import")
    with pytest.raises(ModelError, match=r"'k' .Loop.*longer than 0.1 seconds.*MQUANS_LIMITS"):
        import_model(read_model(endless))


def test_constant_loops_do_not_take_all_memory() -> None:
    growing = looping("Loop", op("Concat", "v v", "w", axis=0), 60, at="import")
    with pytest.raises(ModelError, match=r"'k' .Loop.*too much memory"):
        import_model(read_model(growing))


def test_loops_that_frames_begin_end(value_plan: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    short = looping("Loop", op("Sin", "v", "w"), 4, at="step")
    plan = value_plan(short, values(1, 4, *X["x"]))
    session = Session(short, plan)
    session.stream().step(values(1, *X["x"]))
    endless = looping("Loop", op("Sin", "v", "w"), 1 << 62, at="step")
    monkeypatch.setenv("MQUANS_LIMITS", "0.02")

    session = Session(
        endless, msgspec.structs.replace(plan, model_sha256=read_model(endless).sha256)
    )
    with pytest.raises(MquansError, match=r"'k'.*longer than 0.1 seconds"):
        session.stream().step(values(1, *X["x"]))


def test_loops_are_found_wherever_they_are() -> None:
    """What has none runs unwatched: watching took five times as long as a small branch."""
    loop = looping("Loop", op("Sin", "v", "w"), 4, at="step").graph
    branch, other = (
        onnx.helper.make_graph(nodes, "branch", [], [onnx.ValueInfoProto(name="k")])
        for nodes in (loop.node, [op("Identity", "x", "k")])
    )
    make, opsets = onnx.helper.make_function, [onnx.helper.make_opsetid("", 17)]

    def chosen(then: onnx.GraphProto) -> onnx.ModelProto:
        return build([op("If", "c", "y", then_branch=then, else_branch=other)], X, ["y"])

    assert may_not_end(chosen(branch))
    assert not may_not_end(chosen(other))
    model = build([op("F", "x", "y", domain="own")], X, ["y"])
    model.functions.append(make("own", "F", ["x"], ["k"], list(loop.node), opsets))
    assert may_not_end(model)


def test_functions_are_not_unfolded_without_end() -> None:
    """Each calls the one before three times: 3**40 nodes in two kilobytes."""
    model = build([op("F40", "x", "y", domain="own")], X, ["y"])
    opsets = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("own", 1)]
    model.opset_import.append(opsets[1])
    make = onnx.helper.make_function
    model.functions.append(make("own", "F0", ["a"], ["b"], [op("Neg", "a", "b")], opsets))
    for i in range(1, 41):
        steps = [("a", "p"), ("p", "q"), ("q", "b")]
        nodes = [op(f"F{i - 1}", one, two, domain="own") for one, two in steps]
        model.functions.append(make("own", f"F{i}", ["a"], ["b"], nodes, opsets))
    with pytest.raises(ModelError, match=r"nodes once its functions are unfolded.*MQUANS_LIMITS"):
        read_model(model)


def test_limits_are_raised_by_a_factor(monkeypatch: pytest.MonkeyPatch) -> None:
    model = read_model(build([op("Expand", "x a", "y")], X, ["y"], {"a": ints(64, 3, 8, 8)}))
    monkeypatch.setenv("MQUANS_LIMITS", "0.00001")
    with pytest.raises(ModelError, match="MQUANS_LIMITS"):
        import_model(model)
    monkeypatch.setenv("MQUANS_LIMITS", "1")
    assert import_model(model).shape("y") == (64, 3, 8, 8)


@pytest.mark.parametrize("text", ["", "much", "0", "-1", "nan", "inf", "1e308"])
def test_a_factor_that_is_none_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MQUANS_LIMITS", text)
    with pytest.raises(MquansError, match=r"MQUANS_LIMITS is .* not a positive number"):
        read_model(build([op("Relu", "x", "y")], X, ["y"]))
