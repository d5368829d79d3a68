"""Comparisons, logic and choices are plain arithmetic to a user: no reason to leave the engine."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import mquans
from mquans.onnx import import_model, read_model
from mquans.runtime.reference.interpreter import ReferenceNetwork

from .conftest import Check, build, kinds, op, run_onnxruntime, values

FLOAT, INT64, BOOL = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64, onnx.TensorProto.BOOL


@pytest.mark.parametrize("kind", ["Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual"])
def test_comparisons(check: Check, kind: str) -> None:
    nodes = [op("Round", "x", "r"), op(kind, "r k", "b"), op("Cast", "b", "y", to=FLOAT)]
    check(build(nodes, {"x": (3, 40)}, ["y"], {"k": np.float32(1)}))


@pytest.mark.parametrize("kind", ["And", "Or", "Xor"])
def test_logic_of_two_conditions(check: Check, kind: str) -> None:
    nodes = [
        op("Greater", "x k", "a"),
        op("Less", "x n", "b"),
        op(kind, "a b", "c"),
        op("Not", "c", "d"),
        op("Cast", "d", "y", to=FLOAT),
    ]
    check(build(nodes, {"x": (3, 40)}, ["y"], {"k": np.float32(0.5), "n": np.float32(-0.5)}))


def test_outputs_of_conditions_are_bool() -> None:
    model = build([op("Greater", "x k", "y")], {"x": (3, 4)}, ["y"], {"k": np.float32(0)})
    graph = import_model(read_model(model))
    assert kinds(graph) == ["Binary:less"]
    assert graph.dtype("y") == "bool"


def test_where_takes_the_branch_and_hides_what_is_in_the_other(check: Check) -> None:
    """log(x) of negative numbers is NaN, 1 / 0 infinite: both are guarded against in this way."""
    nodes = [
        op("Greater", "x zero", "c"),
        op("Log", "x", "l"),
        op("Where", "c l low", "y"),
        op("Relu", "x", "r"),
        op("Reciprocal", "r", "i"),
        op("Where", "c i x", "z"),
    ]
    check(build(nodes, {"x": (3, 40)}, ["y", "z"], {"zero": np.float32(0), "low": np.float32(-5)}))


def test_masks_of_attention_are_constant(check: Check) -> None:
    mask = np.tril(np.ones((5, 5), bool))
    nodes = [op("Where", "m x low", "s"), op("Softmax", "s", "y", axis=-1)]
    graph = check(build(nodes, {"x": (2, 5, 5)}, ["y"], {"m": mask, "low": np.float32(-np.inf)}))
    assert kinds(graph)[-1] == "Softmax"


def test_attention_without_nan_is_a_softmax(check: Check) -> None:
    """As torch exports it; a row that sees nothing is 0, not NaN."""
    mask = np.ones((5, 5), bool)
    mask[2] = False
    nodes = [
        op("Where", "m x low", "masked"), op("Softmax", "masked", "s", axis=-1),
        op("IsNaN", "s", "n"), op("Where", "n zero s", "y"),
    ]  # fmt: skip
    constants = {"m": mask, "low": np.float32(-np.inf), "zero": np.float32(0)}
    graph = check(build(nodes, {"x": (2, 5, 5)}, ["y"], constants, opset=20))
    assert kinds(graph) == ["Binary:mask", "Binary:add", "Softmax"]
    # A frame runs, and says nothing that is no number.
    frames = [{"x": values(0, 2, 5, 5)}] * 4
    model = build(nodes, {"x": (2, 5, 5)}, ["y"], constants, opset=20)
    found = mquans.Session(model, mquans.calibrate(model, frames, bits=8)).stream().step(frames[0])
    assert (found["y"][:, 2] == 0).all()
    assert np.isfinite(found["y"]).all()


def test_choice_between_a_constant_and_a_value_runs_behind_a_layer() -> None:
    """An adaptive pool whose windows differ in size, as torch exports it, fills what is beyond them
    with a number. The number where the mask shows it is a constant too: nothing is to be run."""
    rng = np.random.default_rng(0)
    shown = np.arange(4).reshape(4, 1) < 3
    nodes = [op("Conv", "x w", "c"), op("Where", "m zero c", "s"), op("Relu", "s", "y")]
    weights = {"w": rng.normal(size=(2, 3, 1, 1)), "m": shown, "zero": np.float32(0)}
    weights["w"] = weights["w"].astype(np.float32)
    model = build(nodes, {"x": (1, 3, 4, 5)}, ["y"], weights)
    assert kinds(import_model(read_model(model))) == [
        "Conv",
        "Binary:mask",
        "Binary:add",
        "Unary:relu",
    ]
    frames = [{"x": rng.normal(size=(1, 3, 4, 5)).astype(np.float32)} for _ in range(4)]
    session = mquans.Session(model, mquans.calibrate(model, frames, bits=12))
    found = session.stream().step(frames[0])["y"]
    (wanted,) = run_onnxruntime(model, frames[0], ["y"])
    np.testing.assert_allclose(found, wanted, atol=1e-3)


def test_equal_on_integers(check: Check) -> None:
    nodes = [
        op("Cast", "x", "i", to=INT64),
        op("Equal", "i k", "e"),
        op("Where", "e i n", "w"),
        op("Cast", "w", "y", to=FLOAT),
    ]
    check(build(nodes, {"x": (3, 40)}, ["y"], {"k": np.array(-1), "n": np.array(7)}))


def test_conditions_go_into_other_operators_as_what_they_are(check: Check) -> None:
    """Fallback subgraphs want bool and int64, not the engine's floats."""
    nodes = [
        op("Greater", "x k", "c"),
        op("NonZero", "c", "places"),
        op("Cast", "c", "i", to=INT64),
        op("CumSum", "i axis", "y"),
    ]
    graph = check(
        build(nodes, {"x": (3, 4)}, ["places", "y"], {"k": np.float32(0), "axis": np.array(1)}),
        fallbacks=True,
    )
    assert kinds(graph)[0] == "Binary:less"


def test_not_a_number_and_infinity(check: Check) -> None:
    nodes = [
        op("Log", "x", "l"),
        op("IsNaN", "l", "n"),
        op("Where", "n zero l", "a"),
        op("IsInf", "a", "i"),
        op("Where", "i zero a", "y"),
    ]
    x = np.array([[-1, 0, 1, 2]], np.float32)
    check(build(nodes, {"x": (1, 4)}, ["y"], {"zero": np.float32(0)}), feeds={"x": x})


@pytest.mark.parametrize("given", ["x low high", "x - high", "x low"])
def test_clip_between_computed_bounds(check: Check, given: str) -> None:
    nodes = [
        op("ReduceMin", "z", "low", keepdims=0),
        op("ReduceMax", "z", "high", keepdims=0),
        op("Clip", given, "y"),
    ]
    graph = check(build(nodes, {"x": (2, 9), "z": (1, 4)}, ["y"]), scale=3.0)
    assert "Binary:max" in kinds(graph) or "Binary:min" in kinds(graph)


def test_clip_keeps_a_constant_bound_beside_a_computed_one(check: Check) -> None:
    nodes = [op("ReduceMax", "z", "high", keepdims=1), op("Clip", "x low high", "y")]
    check(build(nodes, {"x": (2, 9), "z": (1,)}, ["y"], {"low": np.float32(-0.5)}))


def branch(name: str, *constants: float | list[float]) -> onnx.GraphProto:
    nodes = [
        op("Constant", "", f"{name}{i}c", value_floats=np.atleast_1d(value).tolist())
        for i, value in enumerate(constants)
    ]
    nodes += [op("Neg", f"{name}{i}c", f"{name}{i}") for i in range(len(constants))]
    outputs = [onnx.ValueInfoProto(name=f"{name}{i}") for i in range(len(constants))]
    return onnx.helper.make_graph(nodes, name, [], outputs)


@pytest.mark.parametrize("shift", [5.0, -5.0])
def test_if_between_constants_is_a_choice(check: Check, shift: float) -> None:
    """Only after folding is it seen that the branches are constant."""
    choose = onnx.helper.make_node(
        "If", ["c"], ["gain", "bias"], then_branch=branch("t", 2.0, [1.0, 2.0, 3.0]),
        else_branch=branch("e", 0.5, [4.0, 5.0, 6.0]),
    )  # fmt: skip
    nodes = [
        op("ReduceMean", "x", "m", keepdims=0),
        op("Greater", "m k", "c"),
        choose,
        op("Mul", "x gain", "s"),
        op("Add", "s bias", "y"),
    ]
    model = build(nodes, {"x": (2, 3)}, ["y"], {"k": np.float32(0)})
    check(model, feeds={"x": values(1, 2, 3) + np.float32(shift)})


def test_doubles_that_onnxruntime_makes_go_on_in_the_engine() -> None:
    """One scalar in double precision must not take the layers behind it out of the engine."""
    nodes = [
        op("Cast", "x", "d", to=onnx.TensorProto.DOUBLE),
        op("CumSum", "d axis", "s"),
        op("Mul", "s half", "h"),
        op("Cast", "h", "f", to=FLOAT),
        op("MatMul", "f w", "y"),
    ]
    constants = {"axis": np.array(1), "w": values(3, 4, 5)}
    model = build(nodes, {"x": (2, 4)}, ["y", "h"], constants)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(0.5), "half"))
    graph = import_model(read_model(model))
    assert kinds(graph) == ["Fallback", "Binary:mul", "Linear"]
    assert graph.dtype("h") == "float64"
    feeds = {"x": values(4, 2, 4)}
    for name, expected in zip(["y", "h"], run_onnxruntime(model, feeds, ["y", "h"]), strict=True):
        np.testing.assert_allclose(
            ReferenceNetwork(graph).run(feeds)[name], expected, rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize("array", [np.array([3, -4]), np.array([True, False]), np.array(0.25)])
def test_outputs_that_are_constant_need_no_fallback(array: np.ndarray) -> None:
    model = build([op("Relu", "x", "y")], {"x": (2,)}, ["y", "k"])
    model.graph.initializer.append(onnx.numpy_helper.from_array(array, "k"))
    graph = import_model(read_model(model))
    assert kinds(graph).count("Fallback") == 0
    assert graph.dtype("k") == str(array.dtype)
