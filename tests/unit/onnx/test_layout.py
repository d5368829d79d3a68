"""Values put in the wrong place would give wrong outputs that still look plausible."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mquans.onnx import import_model, read_model
from mquans.runtime.reference.interpreter import ReferenceNetwork

from .conftest import NEWEST, Check, build, kinds, op, values


@pytest.mark.parametrize(
    "shape", [[2, -1], [0, -1], [0, 0, 20], [-1], [1, 2, 3, 4, 5], [2, 3, 5, 4]]
)
def test_reshape(check: Check, shape: list[int]) -> None:
    model = build([op("Reshape", "x s", "y")], {"x": (2, 3, 4, 5)}, ["y"], {"s": np.array(shape)})
    check(model)


def test_reshape_to_a_shape_computed_from_the_input(check: Check) -> None:
    """PyTorch writes x.view(x.size(0), -1) as shape arithmetic."""
    nodes = [
        op("Shape", "x", "s"),
        op("Gather", "s zero", "batch", axis=0),
        op("Unsqueeze", "batch", "b", axes=[0]),
        op("Concat", "b rest", "shape", axis=0),
        op("Reshape", "x shape", "y"),
    ]
    constants = {"zero": np.array(0), "rest": np.array([-1])}
    graph = check(build(nodes, {"x": (2, 3, 4)}, ["y"], constants, opset=11))
    assert kinds(graph) == ["Reshape"]


@pytest.mark.parametrize("axis", [0, 1, 2, 4, -1])
def test_flatten(check: Check, axis: int) -> None:
    check(build([op("Flatten", "x", "y", axis=axis)], {"x": (2, 3, 4, 5)}, ["y"]))


def test_squeeze_and_unsqueeze_by_attribute(check: Check) -> None:
    nodes = [
        op("Squeeze", "x", "a", axes=[0, -1]),
        op("Unsqueeze", "a", "y", axes=[0, 3]),
        op("Squeeze", "x", "z"),
    ]
    check(build(nodes, {"x": (1, 3, 4, 1)}, ["y", "z"], opset=11))


def test_squeeze_and_unsqueeze_by_input(check: Check) -> None:
    nodes = [op("Squeeze", "x a", "h"), op("Unsqueeze", "h b", "y")]
    constants = {"a": np.array([0, -1]), "b": np.array([-1, 1])}
    check(build(nodes, {"x": (1, 3, 4, 1)}, ["y"], constants, opset=13))


@pytest.mark.parametrize("attributes", [{}, {"perm": [0, 2, 3, 1]}])
def test_transpose(check: Check, attributes: dict[str, Any]) -> None:
    check(build([op("Transpose", "x", "y", **attributes)], {"x": (2, 3, 4, 5)}, ["y"]))


@pytest.mark.parametrize("shape", [[2, 3, 4], [5, 2, 3, 4], [1]])
def test_expand_broadcasts_both_ways(check: Check, shape: list[int]) -> None:
    model = build([op("Expand", "x s", "y")], {"x": (2, 1, 4)}, ["y"], {"s": np.array(shape)})
    check(model)


@pytest.mark.parametrize("repeats", [[1, 2, 3], [1, 1, 1], [2, 1, 1], [1, 4, 1]])
def test_tile(check: Check, repeats: list[int]) -> None:
    model = build([op("Tile", "x r", "y")], {"x": (2, 1, 4)}, ["y"], {"r": np.array(repeats)})
    check(model)


@pytest.mark.parametrize("axis", [1, -1])
def test_concat_with_a_constant_and_an_empty_piece(check: Check, axis: int) -> None:
    shape = (2, 3, 0) if axis == -1 else (2, 0, 3)
    constants = {"c": values(1, 2, 3, 3), "e": values(2, *shape)}
    constants["c"] = values(1, 2, 3, 3)[0].reshape(1, 3, 3).repeat(2, 0)
    check(build([op("Concat", "x c e x", "y", axis=axis)], {"x": (2, 3, 3)}, ["y"], constants))


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_to_space(check: Check, mode: str) -> None:
    node = op("DepthToSpace", "x", "y", blocksize=2, mode=mode)
    check(build([node], {"x": (1, 12, 3, 4)}, ["y"]))


def test_space_to_depth(check: Check) -> None:
    check(build([op("SpaceToDepth", "x", "y", blocksize=2)], {"x": (1, 3, 4, 6)}, ["y"]))


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_space_to_depth_has_two_orders_of_channels(mode: str) -> None:
    """Since opset 28; as PixelUnshuffle has it, every channel's pieces follow each other."""
    node = op("SpaceToDepth", "x", "y", blocksize=2, mode=mode)
    model = build([node], {"x": (2, 3, 4, 6)}, ["y"], opset=NEWEST)
    graph = import_model(read_model(model))
    x = values(1, 2, 3, 4, 6)
    pieces = x.reshape(2, 3, 2, 2, 3, 2)
    order = (0, 1, 3, 5, 2, 4) if mode == "CRD" else (0, 3, 5, 1, 2, 4)
    expected = pieces.transpose(order).reshape(2, 12, 2, 3)
    np.testing.assert_array_equal(ReferenceNetwork(graph).run({"x": x})["y"], expected)


@pytest.mark.parametrize("opset", [9, 13, NEWEST])
def test_identities_disappear(check: Check, opset: int) -> None:
    nodes = [
        op("Identity", "x", "a"),
        op("Dropout", "a", "b"),
        op("Cast", "b", "c", to=1),
        op("Relu", "c", "d"),
        op("Identity", "d", "y"),
    ]
    graph = check(build(nodes, {"x": (2, 3)}, ["y"], opset=opset))
    assert kinds(graph) == ["Unary:relu"]


def test_outputs_that_repeat_an_input_or_another_output_keep_their_names(check: Check) -> None:
    nodes = [op("Identity", "x", "a"), op("Relu", "x", "b"), op("Identity", "b", "c")]
    graph = check(build(nodes, {"x": (2, 3)}, ["a", "b", "c"]))
    assert graph.outputs == ("a", "b", "c")
