"""A slice off by one shifts what a network sees."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from .conftest import NEWEST, Check, build, kinds, op


@pytest.mark.parametrize(
    ("starts", "ends", "axes", "steps"),
    [
        ([1], [3], [1], [1]),
        ([-3], [1 << 62], [-1], [2]),
        ([0, 4], [99, 0], [1, 3], [1, -1]),
        ([-1], [-(1 << 62)], [2], [-1]),
        ([1, 1], [2, -1], None, None),
    ],
)
def test_slice(
    check: Check, starts: list[int], ends: list[int], axes: list[int] | None, steps: Any
) -> None:
    constants = {"s": np.array(starts), "e": np.array(ends)}
    names = "x s e"
    if axes is not None:
        constants |= {"a": np.array(axes), "t": np.array(steps)}
        names = "x s e a t"
    check(build([op("Slice", names, "y")], {"x": (2, 3, 4, 5)}, ["y"], constants))


def test_slice_of_opset_9(check: Check) -> None:
    node = op("Slice", "x", "y", starts=[1, 0], ends=[3, -1], axes=[1, 3])
    check(build([node], {"x": (2, 3, 4, 5)}, ["y"], opset=9))


def test_focus_layer_of_yolov5(check: Check) -> None:
    """Four strided slices, concatenated."""
    nodes, names = [], []
    constants = {"e": np.array([1 << 62, 1 << 62]), "a": np.array([2, 3]), "t": np.array([2, 2])}
    for row in (0, 1):
        for column in (0, 1):
            constants[f"s{row}{column}"] = np.array([row, column])
            names.append(f"p{row}{column}")
            nodes.append(op("Slice", f"x s{row}{column} e a t", names[-1]))
    nodes.append(op("Concat", " ".join(names), "y", axis=1))
    check(build(nodes, {"x": (1, 3, 8, 6)}, ["y"], constants))


def test_split_by_attribute(check: Check) -> None:
    node = op("Split", "x", "a b", axis=1, split=[1, 3])
    check(build([node], {"x": (2, 4, 3)}, ["a", "b"], opset=11))


def test_split_by_input_with_an_unused_piece(check: Check) -> None:
    node = op("Split", "x s", "a b c", axis=-1)
    model = build([node], {"x": (2, 4, 6)}, ["a", "c"], {"s": np.array([1, 3, 2])}, opset=13)
    assert kinds(check(model)) == ["Slice", "Slice"]


def test_split_into_equal_and_uneven_pieces(check: Check) -> None:
    check(build([op("Split", "x", "a b", axis=1)], {"x": (2, 4, 3)}, ["a", "b"], opset=13))
    uneven = op("Split", "x", "a b c", axis=1, num_outputs=3)
    check(build([uneven], {"x": (2, 7, 3)}, ["a", "b", "c"], opset=18))


@pytest.mark.parametrize("indices", [0, -1, [2, 0], [[0, 1], [2, -1]]])
@pytest.mark.parametrize("axis", [1, -1])
def test_gather(check: Check, indices: Any, axis: int) -> None:
    node = op("Gather", "x i", "y", axis=axis)
    check(build([node], {"x": (2, 3, 4)}, ["y"], {"i": np.array(indices)}))


def test_gather_with_computed_indices_is_an_fallback(check: Check) -> None:
    nodes = [op("ArgMax", "x", "i", axis=1, keepdims=0), op("Gather", "c i", "y", axis=0)]
    constants = {"c": np.arange(12, dtype=np.float32).reshape(4, 3)}
    graph = check(build(nodes, {"x": (2, 4)}, ["y"], constants), fallbacks=True)
    assert kinds(graph) == ["Fallback"]


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
def test_pad(check: Check, mode: str) -> None:
    constants = {"p": np.array([0, 0, 1, 2, 0, 0, 2, 1]), "v": np.float32(1.5)}
    names = "x p v" if mode == "constant" else "x p"
    check(build([op("Pad", names, "y", mode=mode)], {"x": (1, 2, 4, 5)}, ["y"], constants))


def test_pad_of_opset_9_and_with_axes(check: Check) -> None:
    old = op("Pad", "x", "y", pads=[0, 1, 0, 2], value=2.0)
    check(build([old], {"x": (2, 3)}, ["y"], opset=9))
    constants = {"p": np.array([1, 2]), "a": np.array([-1])}
    check(build([op("Pad", "x p - a", "y")], {"x": (2, 3)}, ["y"], constants, opset=NEWEST))


def test_negative_padding_crops(check: Check) -> None:
    constants = {"p": np.array([-1, 1, 0, -2])}
    check(build([op("Pad", "x p", "y")], {"x": (3, 5)}, ["y"], constants))


def test_unknown_padding_mode_is_an_fallback(check: Check) -> None:
    node = op("Pad", "x p", "y", mode="wrap")
    model = build([node], {"x": (1, 4)}, ["y"], {"p": np.array([0, 1, 0, 1])}, opset=19)
    assert kinds(check(model, fallbacks=True)) == ["Fallback"]
