"""Branches of an `If` that are constants: a choice between them, without branches."""

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
    condition = new_value(f"{proto.output[0]}/condition")
    nodes = [onnx.helper.make_node("Squeeze", [proto.input[0]], [condition], name=condition)]
    found: Arrays = {}
    for output, pair in zip(proto.output, pairs, strict=True):
        names = [new_value(f"{output}/then"), new_value(f"{output}/else")]
        found.update(zip(names, pair, strict=True))
        nodes.append(onnx.helper.make_node("Where", [condition, *names], [output], name=output))
    return found, nodes


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
