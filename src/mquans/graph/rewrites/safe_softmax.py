"""Recognise softmax with NaN replaced by 0, as torch exports attention under any mask.

    s = Softmax(x); y = s where s is a number, else 0

Written out, that is three more passes over a matrix of tokens times tokens.
"""

from __future__ import annotations

from dataclasses import replace

from mquans.graph.edits import Editor
from mquans.graph.graph import Node
from mquans.graph.operators import Binary, Softmax


def find_safe_softmax(editor: Editor) -> bool:
    """Afterwards the pattern above is one Softmax."""
    changed = False
    for node in editor.visit():
        if node.op != Binary("mask"):
            continue
        softmax = editor.producer(node.inputs[0])
        if softmax is None or not isinstance(softmax.op, Softmax) or softmax.op.log:
            continue
        if _is_number(editor, node.inputs[1]) == node.inputs[0]:
            editor.replace(node, replace(softmax.op, nan_is_zero=True), softmax.inputs)
            changed = True
    return changed


def _is_number(editor: Editor, value: str) -> str | None:
    """The x of `x == x`, also of `1 - (1 - (x == x))`."""
    node = editor.producer(value)
    if node is None:
        return None
    if node.op == Binary("equal") and node.inputs[0] == node.inputs[1]:
        return node.inputs[0]
    inner = editor.producer(node.inputs[-1])
    negations = [each for each in (node, inner) if each is not None and _negates(editor, each)]
    return _is_number(editor, negations[1].inputs[1]) if len(negations) == 2 else None


def _negates(editor: Editor, node: Node) -> bool:
    return node.op == Binary("sub") and editor.scalar(node.inputs[0]) == 1.0
