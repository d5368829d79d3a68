"""Assignments to slices and tables of places, as exports of detectors are full of: each was a
fallback subgraph in the middle of the network."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from mquans.errors import ModelError
from mquans.graph import Concat, Fallback
from mquans.onnx import import_model, read_model

from .conftest import Check, build, kinds, op

RNG = np.random.default_rng(0)


def mesh(*ranges: range) -> np.ndarray[Any, Any]:
    """All places of a block, as exporters write an assignment to a slice: [..., axes]."""
    return np.stack(np.meshgrid(*map(np.array, ranges), indexing="ij"), -1)


@pytest.mark.parametrize(
    ("places", "axis"),
    [
        (RNG.integers(-4, 4, (2, 4, 5)), 1),
        (RNG.integers(0, 5, (2, 4, 3)), 2),
        (RNG.integers(0, 2, (7, 4, 5)), 0),
    ],
)
def test_elements_are_picked(check: Check, places: np.ndarray[Any, Any], axis: int) -> None:
    nodes = [op("Relu", "x", "r"), op("GatherElements", "r i", "y", axis=axis)]
    check(build(nodes, {"x": (2, 4, 5)}, ["y"], {"i": places}))


@pytest.mark.parametrize(
    ("places", "batch"),
    [
        (RNG.integers(0, 2, (6, 1)), 0),
        (RNG.integers(-2, 2, (3, 2, 2)), 0),
        (RNG.integers(0, 2, (6, 3)), 0),
        (RNG.integers(0, 4, (2, 3, 1)), 1),
        (RNG.integers(0, 4, (2, 4, 3, 1)), 2),
    ],
)
def test_rows_are_picked(check: Check, places: np.ndarray[Any, Any], batch: int) -> None:
    nodes = [op("Relu", "x", "r"), op("GatherND", "r i", "y", batch_dims=batch)]
    check(build(nodes, {"x": (2, 4, 5)}, ["y"], {"i": places}))


@pytest.mark.parametrize("opset", [11, 18])
def test_elements_are_put(check: Check, opset: int) -> None:
    places = np.argsort(RNG.normal(size=(2, 3, 5)), axis=1)
    nodes = [op("Relu", "x", "r"), op("ScatterElements", "r i z", "y", axis=1)]
    check(build(nodes, {"x": (2, 4, 5), "z": (2, 3, 5)}, ["y"], {"i": places}, opset=opset))


@pytest.mark.parametrize(
    ("places", "put"),
    [
        (mesh(range(2), range(1, 3)), (2, 2, 5)),  # x[:, 1:3]
        (mesh(range(2), range(4), range(2)), (2, 4, 2)),  # x[..., :2]
        (mesh(range(2), range(4), range(3, 5)), (2, 4, 2)),
        (mesh(range(2), range(4)), (2, 4, 5)),  # all of it
        (mesh(range(1, 2)), (1, 4, 5)),
    ],
)
def test_assignments_to_slices_are_concatenations(
    check: Check, places: np.ndarray[Any, Any], put: tuple[int, ...]
) -> None:
    nodes = [op("Relu", "x", "r"), op("ScatterND", "r i z", "y")]
    graph = check(build(nodes, {"x": (2, 4, 5), "z": put}, ["y"], {"i": places}))
    assert not any("Gather" in kind for kind in kinds(graph))


@pytest.mark.parametrize(
    ("places", "put"),
    [
        (mesh(range(2), range(1, 3), range(2, 4)), (2, 2, 2)),  # a block inside
        (np.array([[1, 3], [0, -1], [1, 0]]), (3, 5)),
        (mesh(range(2), range(0, 4, 2)), (2, 2, 5)),  # every second
    ],
)
def test_rows_are_put(check: Check, places: np.ndarray[Any, Any], put: tuple[int, ...]) -> None:
    nodes = [op("Relu", "x", "r"), op("ScatterND", "r i z", "y")]
    graph = check(build(nodes, {"x": (2, 4, 5), "z": put}, ["y"], {"i": places}))
    assert any(isinstance(node.op, Concat) for node in graph.nodes)


def test_a_constant_is_filled(check: Check) -> None:
    """Buffers of zeros that slices are written into."""
    nodes = [op("ScatterND", "zeros i x", "a"), op("ScatterND", "a j x", "y")]
    first, second = (mesh(range(2), half) for half in (range(2), range(2, 4)))
    constants = {"zeros": np.zeros((2, 4, 5)), "i": first, "j": second}
    check(build(nodes, {"x": (2, 2, 5)}, ["y"], constants))


def test_sums_at_places_and_places_that_are_computed_run_on_onnxruntime() -> None:
    added = op("ScatterND", "x i z", "y", reduction="add")
    constants = {"i": np.array([[0], [1]])}
    graph = import_model(read_model(build([added], {"x": (2, 5), "z": (2, 5)}, ["y"], constants)))
    assert isinstance(graph.nodes[-1].op, Fallback)
    nodes = [op("Cast", "z", "i", to=onnx.TensorProto.INT64), op("GatherElements", "x i", "y")]
    graph = import_model(read_model(build(nodes, {"x": (2, 5), "z": (2, 5)}, ["y"])))
    assert isinstance(graph.nodes[-1].op, Fallback)


def test_places_outside_are_refused() -> None:
    model = build([op("GatherND", "x i", "y")], {"x": (2, 5)}, ["y"], {"i": np.array([[2]])})
    with pytest.raises(ModelError, match="outside"):
        import_model(read_model(model))


@pytest.mark.parametrize(("length", "batch"), [(5, 1), (3, 0), (0, 1)])
def test_sequences_of_one_length_are_turned_round(check: Check, length: int, batch: int) -> None:
    """As TensorFlow writes the backward half of a layer; what is behind them stays."""
    shape = (5, 2, 3) if batch else (2, 5, 3)
    nodes = [
        op("Relu", "x", "r"),
        op("ReverseSequence", "r n", "y", batch_axis=batch, time_axis=1 - batch),
    ]
    check(build(nodes, {"x": shape}, ["y"], {"n": np.full(2, length, np.int64)}))


def test_values_that_are_put_need_an_index_each() -> None:
    """torch.scatter takes more, and its exporter writes them; onnxruntime refuses all frames."""
    nodes = [op("ScatterElements", "x i z", "y", axis=1)]
    model = build(nodes, {"x": (2, 4), "z": (2, 4)}, ["y"], {"i": np.zeros((2, 3), np.int64)})
    with pytest.raises(ModelError, match=r"puts \[2, 4\] values, but has \[2, 3\] indices"):
        import_model(read_model(model))
