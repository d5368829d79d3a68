"""Branches of an `If` without branches: a choice between constants, or between what both
compute."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import onnx

from mquans.onnx.folding import evaluate, is_foldable
from mquans.onnx.scopes import inline_graph

Arrays = dict[str, npt.NDArray[np.generic]]


def choice_of_constants(
    proto: onnx.NodeProto,
    constants: Mapping[str, npt.NDArray[np.generic]],
    opsets: Mapping[str, int],
    new_value: Callable[[str], str],
) -> tuple[Arrays, list[onnx.NodeProto]]:
    """An If between values that are known as nodes that choose one of them.

    Args:
        constants: what is known around it.
        new_value: makes a name that is not taken yet.

    Returns:
        (constants by name, nodes in order); both empty where a branch is not known, or where the
        two give other types or shapes.
    """
    branches = {
        attribute.name: _fixed(attribute.g, len(proto.output), constants, opsets, new_value)
        for attribute in proto.attribute
    }
    first, second = branches["then_branch"], branches["else_branch"]
    if first is None or second is None:
        return {}, []
    pairs = list(zip(first, second, strict=True))
    if any((a.dtype, a.shape) != (b.dtype, b.shape) for a, b in pairs):
        return {}, []
    sides, nodes = _choice(proto, new_value)
    found: Arrays = {}
    for names, arrays in zip(sides, (first, second), strict=True):
        found.update(zip(names, arrays, strict=True))
    return found, nodes


def choice_of_computed(
    proto: onnx.NodeProto, new_value: Callable[[str], str]
) -> tuple[Arrays, list[onnx.NodeProto]]:
    """An If as the nodes of both branches and those that choose what one of them gives, which is
    right where both give the same types and shapes.

    Returns:
        (constants by name, nodes in order).
    """
    branches = {attribute.name: attribute.g for attribute in proto.attribute}
    sides, choice = _choice(proto, new_value)
    found: Arrays = {}
    nodes = list[onnx.NodeProto]()
    for side, branch in zip(sides, ("then_branch", "else_branch"), strict=True):
        tensors, inner = inline_graph(branches[branch], side, new_value)
        found.update(tensors)
        nodes += inner
    return found, nodes + choice


def _choice(
    proto: onnx.NodeProto, new_value: Callable[[str], str]
) -> tuple[tuple[list[str], list[str]], list[onnx.NodeProto]]:
    """(names of what either branch gives, the nodes that choose one)"""
    condition = new_value(f"{proto.output[0]}/condition")
    nodes = [onnx.helper.make_node("Squeeze", [proto.input[0]], [condition], name=condition)]
    first, second = (
        [new_value(f"{output}/{side}") for output in proto.output] for side in ("then", "else")
    )
    for names in zip(first, second, proto.output, strict=True):
        nodes.append(
            onnx.helper.make_node("Where", [condition, *names[:2]], names[2:], name=names[2])
        )
    return (first, second), nodes


def _fixed(
    branch: onnx.GraphProto,
    outputs: int,
    constants: Mapping[str, npt.NDArray[np.generic]],
    opsets: Mapping[str, int],
    new_value: Callable[[str], str],
) -> list[npt.NDArray[np.generic]] | None:
    """What a branch gives, where that is known at import; else None."""
    names = [new_value(f"{branch.name}/{index}") for index in range(outputs)]
    tensors, nodes = inline_graph(branch, names, new_value)
    known = {**constants, **tensors}
    for node in nodes:
        if not is_foldable(node, known):
            return None
        known.update(zip(node.output, evaluate(node, known, opsets), strict=False))
    return [known[name] for name in names]
