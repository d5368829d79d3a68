"""A branch that a frame decides costs a call of onnxruntime, unless both are so small that
computing them takes less."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

from mquans.graph import Fallback, Graph

from .conftest import Check, build, kinds, op, values

POSITIVE = [op("ReduceMax", "x", "m", keepdims=0), op("Greater", "m zero", "c")]
FRAMES = (np.abs(values(1, 2, 6)), -np.abs(values(2, 2, 6)))


def branch(nodes: list[onnx.NodeProto], *outputs: str) -> onnx.GraphProto:
    listed = [onnx.ValueInfoProto(name=output) for output in outputs]
    return onnx.helper.make_graph(nodes, "branch", [], listed)


def choice(then: list[onnx.NodeProto], other: list[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """`b` of either branch, by the sign of the largest value."""
    decided = op("If", "c", "b", then_branch=branch(then, "t"), else_branch=branch(other, "e"))
    return [*POSITIVE, decided, op("Add", "b one", "y")]


def both(check: Check, nodes: list[onnx.NodeProto], constants: dict[str, Any]) -> Graph:
    """The graph, after a frame for either branch."""
    known = {"zero": np.float32(0), "one": np.float32(1), **constants}
    model = build(nodes, {"x": FRAMES[0].shape}, ["y"], known)
    check(model, feeds={"x": FRAMES[0]}, fallbacks=True)
    return check(model, feeds={"x": FRAMES[1]}, fallbacks=True)


def test_small_branches_are_both_computed(check: Check) -> None:
    """A second network that runs only where the first one hears something, as of a wake word."""
    then = [op("MatMul", "x w", "s"), op("Relu", "s", "t")]
    graph = both(check, choice(then, [op("Identity", "x", "e")]), {"w": values(3, 6, 6)})
    assert "Fallback" not in kinds(graph)
    assert "Linear" in kinds(graph)


def test_what_a_branch_that_is_not_taken_makes_of_a_frame_does_not_count(check: Check) -> None:
    """The logarithm of what is negative is no number."""
    graph = both(check, choice([op("Log", "x", "t")], [op("Neg", "x", "e")]), {})
    assert "Fallback" not in kinds(graph)


def test_a_branch_inside_a_branch(check: Check) -> None:
    small, large = branch([op("Abs", "x", "p")], "p"), branch([op("Exp", "x", "q")], "q")
    inner = op("If", "d", "t", then_branch=small, else_branch=large)
    then = [op("Less", "m one", "d"), inner]
    assert "Fallback" not in kinds(both(check, choice(then, [op("Neg", "x", "e")]), {}))


@pytest.mark.parametrize(
    ("then", "reason"),
    [
        ([op("Slice", "x first last rows", "t")], "different sizes"),
        ([op("NonZero", "x", "n"), op("Size", "n", "s"), op("CastLike", "s one", "f"),
          op("Mul", "x f", "t")], "NonZero"),
        ([op("MatMul", "x large", "s"), op("MatMul", "s long", "t")], "too large"),
    ],
)  # fmt: skip
def test_other_branches_stay_with_onnxruntime(
    check: Check, then: list[onnx.NodeProto], reason: str
) -> None:
    constants = {
        "first": np.array([0]), "last": np.array([1]), "rows": np.array([0]),
        "large": values(4, 6, 100_000), "long": values(5, 100_000, 6),
    }  # fmt: skip
    graph = both(check, choice(then, [op("Identity", "x", "e")]), constants)
    (left,) = (node.op for node in graph.nodes if isinstance(node.op, Fallback))
    assert reason in left.reason
