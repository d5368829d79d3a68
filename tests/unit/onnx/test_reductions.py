"""Reductions and softmax changed their meaning between opsets."""

from __future__ import annotations

import numpy as np
import pytest

from .conftest import NEWEST, Check, build, kinds, op

KINDS = ["Mean", "Sum", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSumExp"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("axes", [None, [1], [-1, 1]])
@pytest.mark.parametrize("keep", [0, 1])
def test_reductions_by_attribute(
    check: Check, kind: str, axes: list[int] | None, keep: int
) -> None:
    attributes = {"keepdims": keep} | ({"axes": axes} if axes else {})
    node = op(f"Reduce{kind}", "x", "y", **attributes)
    check(build([node], {"x": (2, 3, 4)}, ["y"], opset=11), scale=1)


@pytest.mark.parametrize("kind", KINDS)
def test_reductions_by_input(check: Check, kind: str) -> None:
    node = op(f"Reduce{kind}", "x a", "y", keepdims=0)
    check(build([node], {"x": (2, 3, 4)}, ["y"], {"a": np.array([-1])}, opset=NEWEST), scale=1)


@pytest.mark.parametrize("kind", KINDS)
def test_reductions_over_no_axes(check: Check, kind: str) -> None:
    node = op(f"Reduce{kind}", "x a", "y", noop_with_empty_axes=1)
    empty = np.zeros(0, np.int64)
    check(build([node], {"x": (2, 3)}, ["y"], {"a": empty}, opset=18), scale=1)


def test_logarithms_of_sums_of_large_powers(check: Check) -> None:
    """Pixels of 0 to 255 would overflow as the standard defines it."""
    node = op("ReduceLogSumExp", "x a", "y")
    network = build([node], {"x": (2, 3, 4)}, ["y"], {"a": np.array([1])}, opset=18)
    check(network, scale=1000)


@pytest.mark.parametrize("kind", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("axis", [None, 0, 1, 2, -1])
@pytest.mark.parametrize("opset", [9, 11, 13, NEWEST])
def test_softmax(check: Check, kind: str, axis: int | None, opset: int) -> None:
    attributes = {} if axis is None else {"axis": axis}
    check(build([op(kind, "x", "y", **attributes)], {"x": (2, 3, 4)}, ["y"], opset=opset))


def test_softmax_between_transposes_works_on_the_channels_directly(check: Check) -> None:
    """FastestDet's head moves the channels last for its softmax and back."""
    nodes = [
        op("Transpose", "x", "a", perm=[0, 2, 3, 1]),
        op("Softmax", "a", "b", axis=3),
        op("Transpose", "b", "y", perm=[0, 3, 1, 2]),
    ]
    assert kinds(check(build(nodes, {"x": (1, 3, 4, 5)}, ["y"]))) == ["Softmax"]
