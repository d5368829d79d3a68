"""Remove a transpose and its inverse around a node that works along any axis."""

from __future__ import annotations

from dataclasses import replace

from mquans.graph.edits import Editor
from mquans.graph.operators import Softmax, Transpose, Unary


def cancel_transposes(editor: Editor) -> bool:
    """Afterwards no `transpose -> softmax or activation -> inverse transpose` is left whose inner
    values nobody else reads; the node works on the untransposed value."""
    changed = False
    for last in editor.visit():
        if not isinstance(last.op, Transpose) or not editor.is_private(last.inputs[0]):
            continue
        middle = editor.producer(last.inputs[0])
        if middle is None or not isinstance(middle.op, Softmax | Unary):
            continue
        first = editor.producer(middle.inputs[0])
        if first is None or not isinstance(first.op, Transpose):
            continue
        perm = first.op.perm
        if tuple(perm[axis] for axis in last.op.perm) != tuple(range(len(perm))):
            continue
        op: Softmax | Unary = middle.op
        if isinstance(op, Softmax):
            op = replace(op, axis=perm[op.axis])
        editor.replace(last, op, first.inputs, name=middle.name, absorbed=middle)
        changed = True
    return changed
