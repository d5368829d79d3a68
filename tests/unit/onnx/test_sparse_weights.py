"""Weights that are stored as what is not 0 are read as any others."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from mquans.errors import ModelError
from mquans.onnx import import_model, read_model

from .conftest import Check, build, op

PLACES = np.array([0, 5, 50, 107])


def sparse(indices: np.ndarray) -> onnx.SparseTensorProto:
    numbers = onnx.numpy_helper.from_array(np.array([1, -2, 0.5, 3], np.float32), "w")
    places = onnx.numpy_helper.from_array(indices.astype(np.int64), "places")
    return onnx.helper.make_sparse_tensor(numbers, places, [4, 3, 3, 3])


def initializer(weights: onnx.SparseTensorProto) -> onnx.ModelProto:
    model = build([op("Conv", "x w", "y")], {"x": (1, 3, 8, 8)}, ["y"])
    model.graph.sparse_initializer.append(weights)
    return model


def constant(weights: onnx.SparseTensorProto) -> onnx.ModelProto:
    nodes = [op("Constant", "", "w", sparse_value=weights), op("Conv", "x w", "y")]
    return build(nodes, {"x": (1, 3, 8, 8)}, ["y"])


@pytest.mark.parametrize("place", [initializer, constant])
def test_sparse_weights(
    check: Check, place: Callable[[onnx.SparseTensorProto], onnx.ModelProto]
) -> None:
    check(place(sparse(PLACES)))


def test_places_may_be_given_axis_by_axis() -> None:
    """onnxruntime takes them in one number only, the format also in one per axis."""
    rows = np.stack(np.unravel_index(PLACES, (4, 3, 3, 3)), axis=1)
    found, expected = (
        import_model(read_model(initializer(sparse(indices)))).constants["w"]
        for indices in (rows, PLACES)
    )
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("wrong", [108, -1])
def test_places_outside_are_refused(wrong: int) -> None:
    weights = sparse(np.array([0, 1, 2, wrong]))
    with pytest.raises(ModelError, match=r"'w': its places are none of a tensor of shape"):
        import_model(read_model(initializer(weights)))


def test_a_few_bytes_do_not_ask_for_all_memory() -> None:
    weights = sparse(PLACES)
    weights.dims[:] = [1 << 20, 1 << 20]
    with pytest.raises(ModelError, match="MQUANS_LIMITS"):
        import_model(read_model(initializer(weights)))
