"""A classifier over a whole picture of features reads more than change lists can name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mquans
from mquans.graph import Graph, Linear, Node, ValueType
from mquans.graph.rewrites import rewrite
from mquans.graph.rewrites.split_wide_layers import MOST_INPUTS
from mquans.graph.shapes import infer
from mquans.onnx import to_onnx
from mquans.runtime.reference.interpreter import ReferenceNetwork


def relative_error(found: Any, expected: Any) -> float:
    return float(np.square(found - expected).sum() / np.square(expected).sum())


def wide(inputs: int) -> Graph:
    rng = np.random.default_rng(0)
    constants: dict[str, Any] = {"w": rng.normal(size=(inputs, 3)), "b": rng.normal(size=3)}
    graph = Graph(
        "wide", ("x",), ("y",), [Node("layer", Linear(), ("x", "w", "b"), ("y",))],
        {name: array.astype(np.float32) for name, array in constants.items()},
    )  # fmt: skip
    graph.types["x"] = ValueType((1, inputs))
    graph.types = infer(graph)
    return graph


@pytest.mark.parametrize(
    ("inputs", "parts"), [(MOST_INPUTS, 1), (MOST_INPUTS + 1, 4), (MOST_INPUTS + 2, 5)]
)
def test_values_stay_the_same_and_no_layer_is_wider(inputs: int, parts: int) -> None:
    x = np.random.default_rng(1).normal(size=(1, inputs)).astype(np.float32)
    expected = ReferenceNetwork(wide(inputs)).run({"x": x})["y"]
    graph = rewrite(wide(inputs))
    layers = [node for node in graph.nodes if isinstance(node.op, Linear)]
    assert len(layers) == parts
    assert max(len(graph.constants[node.inputs[1]]) for node in layers) <= MOST_INPUTS
    np.testing.assert_allclose(ReferenceNetwork(graph).run({"x": x})["y"], expected, rtol=1e-6)


def test_such_a_network_is_calibrated_and_run() -> None:
    """It was refused, although `inspect` found all of it in reuse layers."""
    inputs = MOST_INPUTS + 9
    model = to_onnx(wide(inputs)).SerializeToString()
    x = np.random.default_rng(1).normal(size=(1, inputs)).astype(np.float32)
    frames = [x + np.float32(0.001 * i) for i in range(8)]
    stream = mquans.Session(model, mquans.calibrate(model, frames, bits=12)).stream()
    expected = ReferenceNetwork(wide(inputs)).run({"x": frames[-1]})["y"]
    assert relative_error(stream.step(frames[-1])["y"], expected) < 1e-3
    assert stream.check() is None
