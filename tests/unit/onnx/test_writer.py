"""Calibration observes inner values through the written model, so any of them must come out."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from mquans.errors import ModelError
from mquans.graph import Graph
from mquans.onnx import import_model, read_model, to_onnx
from mquans.runtime.reference.interpreter import ReferenceNetwork

from .conftest import build, op, relative_error, run_onnxruntime, values


@pytest.fixture
def graph() -> Graph:
    nodes = [
        op("Conv", "x w b", "h"),
        op("Relu", "h", "r"),
        op("CumSum", "r axis", "c"),
        op("Conv", "c v", "y"),
    ]
    constants = {"w": values(1, 4, 3, 3, 3), "b": values(2, 4), "v": values(3, 2, 4, 1, 1)}
    constants["axis"] = np.array(3)
    return import_model(read_model(build(nodes, {"x": (1, 3, 8, 8)}, ["y"], constants)))


def test_inputs_constants_and_inner_values_can_be_returned(graph: Graph) -> None:
    wanted = ["x", "r", "c", "w", "y"]
    x = values(4, 1, 3, 8, 8)
    model = to_onnx(graph, outputs=wanted)
    onnx.checker.check_model(model)
    found = run_onnxruntime(model, {"x": x}, wanted)
    expected = ReferenceNetwork(graph).run({"x": x}, wanted)
    for name, array in zip(wanted, found, strict=True):
        assert relative_error(array, expected[name]) < 1e-12


def test_what_does_not_exist_is_named(graph: Graph) -> None:
    with pytest.raises(ModelError, match="'h'"):
        to_onnx(graph, outputs=["h"])


def test_a_written_model_imports_to_the_same_graph(graph: Graph) -> None:
    again = import_model(read_model(to_onnx(graph)))
    assert [type(node.op) for node in again.nodes] == [type(node.op) for node in graph.nodes]


@pytest.mark.parametrize("opset", [9, 13, 22])
def test_fallbacks_of_any_opset_are_written(opset: int) -> None:
    nodes = [op("Relu", "x", "h"), op("ArgMax", "h", "i", axis=1), op("Cast", "i", "y", to=1)]
    graph = import_model(read_model(build(nodes, {"x": (2, 5)}, ["y"], opset=opset)))
    x = values(1, 2, 5)
    found = run_onnxruntime(to_onnx(graph), {"x": x}, ["y"])[0]
    np.testing.assert_array_equal(found, np.maximum(x, 0).argmax(1, keepdims=True))
