"""Remove nodes that compute nothing: same-shape reshapes, empty pads, full slices,
quantizations of whole steps."""

from __future__ import annotations

import math

from mquans.graph.edits import Editor
from mquans.graph.graph import Node
from mquans.graph.operators import (
    Binary,
    Concat,
    Expand,
    Gather,
    Pad,
    Pool,
    Reduce,
    Reshape,
    Resize,
    Slice,
    Transpose,
    Unary,
)
from mquans.graph.whole_values import bounds_of

NEUTRAL = {"add": 0.0, "sub": 0.0, "mul": 1.0, "div": 1.0, "pow": 1.0}
"""Second operand that leaves the first as it is."""


def remove_identities(editor: Editor) -> bool:
    """Afterwards no node merely copies its input, except where names of the graph's border demand
    it; reductions over axes of size 1 have become reshapes."""
    changed = False
    # What reads a removed node is another one, visited in the next turn.
    while _remove_some(editor):
        changed = True
    return changed


def _remove_some(editor: Editor) -> bool:
    changed = False
    for node in editor.visit():
        if _is_trivial_reduction(editor, node):
            shape = editor.graph.shape(node.outputs[0])
            node = editor.replace(node, Reshape(shape), node.inputs)
            changed = True
        if _is_identity(editor, node):
            changed |= editor.alias(node)
    return changed


def _is_trivial_reduction(editor: Editor, node: Node) -> bool:
    if not isinstance(node.op, Reduce) or node.op.kind not in ("mean", "sum", "max", "min", "prod"):
        return False
    shape = editor.graph.shape(node.inputs[0])
    return all(shape[axis] == 1 for axis in node.op.axes)


def _is_identity(editor: Editor, node: Node) -> bool:
    graph = editor.graph
    shape = graph.shape(node.inputs[0]) if node.inputs else ()
    match node.op:
        case Reshape(target) | Expand(target):
            return target == shape
        case Resize():
            return node.op.sizes == shape and set(node.op.scales) == {1.0}
        case Transpose(perm):
            return perm == tuple(range(len(perm)))
        case Pad(pads):
            return not any(pads)
        case Slice(steps=steps):
            return graph.shape(node.outputs[0]) == shape and all(step == 1 for step in steps)
        case Gather(axis, indices):
            return indices == tuple(range(shape[axis]))
        case Concat():
            return len(node.inputs) == 1
        case Unary("clip", params):
            return params == (-math.inf, math.inf)
        case Unary("quantize", (low, high)):
            bounds = bounds_of(editor.producers, node.inputs[0])
            return bounds is not None and low <= bounds[0] and bounds[1] <= high
        case Pool():
            unit = set(node.op.kernel) | set(node.op.strides) == {1}
            return unit and not any(node.op.pads)
        case Binary(kind):
            array = editor.constant(node.inputs[1])
            if array is None or kind not in NEUTRAL:
                return False
            same = graph.shape(node.outputs[0]) == shape
            return same and bool((array == NEUTRAL[kind]).all())
    return False
