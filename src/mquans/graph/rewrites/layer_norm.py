"""Recognise layer normalisation written out in elementary operators.

    mean = ReduceMean(x); d = x - mean; var = ReduceMean(d * d); y = d / sqrt(var + eps)

as exporters of opset < 17 write it, over the last axes, with or without scale and bias behind it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mquans.graph.edits import Editor
from mquans.graph.graph import Node
from mquans.graph.operators import Binary, LayerNorm, Reduce, Unary


def find_layer_norms(editor: Editor) -> bool:
    """Afterwards the pattern above is one LayerNorm, and a multiplication or addition of constants
    of the normalised shape that alone reads it has become its scale or bias."""
    changed = False
    for node in editor.visit():
        if not isinstance(node.op, Binary):
            continue
        if node.op.kind == "div":
            changed |= _normalise(editor, node)
        elif node.op.kind in ("mul", "add"):
            changed |= _absorb(editor, node, node.op.kind)
    return changed


def _normalise(editor: Editor, div: Node) -> bool:
    deviation, spread = div.inputs
    root = editor.producer(spread)
    if root is None or root.op != Unary("sqrt"):
        return False
    plus = _binary(editor, root.inputs[0], "add")
    if plus is None:
        return False
    variance, epsilon = plus.inputs[0], editor.scalar(plus.inputs[1])
    if epsilon is None:
        variance, epsilon = plus.inputs[1], editor.scalar(plus.inputs[0])
    if epsilon is None or (axis := _tail_mean(editor, variance)) is None:
        return False
    square = _binary(editor, editor.producers[variance].inputs[0], "mul")
    if square is None or square.inputs[0] != square.inputs[1]:
        return False
    if not _same_deviation(editor, square.inputs[0], deviation):
        return False
    sub = _binary(editor, deviation, "sub")
    if sub is None:
        return False
    x, mean = sub.inputs
    if _tail_mean(editor, mean) != axis or editor.producers[mean].inputs[0] != x:
        return False
    shape = editor.graph.shape(x)[axis:]
    scale = editor.add_constant(f"{div.name}/scale", np.ones(shape, np.float32))
    editor.replace(div, LayerNorm(axis, epsilon), (x, scale))
    return True


def _same_deviation(editor: Editor, a: str, b: str) -> bool:
    """Some exporters subtract twice: once for the variance and once for the result."""
    if a == b:
        return True
    first, second = _binary(editor, a, "sub"), _binary(editor, b, "sub")
    return first is not None and second is not None and first.inputs == second.inputs


def _binary(editor: Editor, value: str, kind: str) -> Node | None:
    node = editor.producer(value)
    is_kind = node is not None and isinstance(node.op, Binary) and node.op.kind == kind
    return node if is_kind else None


def _tail_mean(editor: Editor, value: str) -> int | None:
    """First axis of a mean over the last axes that keeps them; None when it is not one."""
    node = editor.producer(value)
    if node is None or not isinstance(node.op, Reduce):
        return None
    rank = len(editor.graph.shape(node.inputs[0]))
    axis = min(node.op.axes, default=rank)
    is_tail = node.op.axes == tuple(range(axis, rank)) and axis < rank
    return axis if node.op.kind == "mean" and node.op.keepdims and is_tail else None


def _absorb(editor: Editor, node: Node, kind: str) -> bool:
    """Take a constant factor or summand into the scale or bias of the LayerNorm before it."""
    for norm_side in (0, 1):
        source, other = node.inputs[norm_side], node.inputs[1 - norm_side]
        norm, constant = editor.producer(source), editor.constant(other)
        if constant is None or norm is None or not isinstance(norm.op, LayerNorm):
            continue
        shape = editor.graph.shape(source)
        if not editor.is_private(source) or editor.graph.shape(node.outputs[0]) != shape:
            continue
        tail = shape[norm.op.axis :]
        if constant.ndim > len(tail) and any(n != 1 for n in constant.shape[: -len(tail)]):
            continue
        vector = np.broadcast_to(constant.reshape(constant.shape[-len(tail) :]), tail)
        scale = editor.graph.constants[norm.inputs[1]]
        bias = editor.graph.constants[norm.inputs[2]] if len(norm.inputs) > 2 else None
        inputs: tuple[str, ...]
        if kind == "mul":
            inputs = (norm.inputs[0], editor.add_constant(norm.inputs[1], scale * vector))
            if bias is not None:
                inputs += (editor.add_constant(norm.inputs[2], bias * vector),)
        else:
            total = vector if bias is None else bias + vector
            name = norm.inputs[2] if bias is not None else f"{norm.name}/bias"
            inputs = (*norm.inputs[:2], editor.add_constant(name, total))
        editor.replace(node, replace(norm.op), inputs, name=norm.name, absorbed=norm)
        return True
    return False
