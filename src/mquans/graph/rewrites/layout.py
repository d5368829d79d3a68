"""Merge neighbouring reshapes and transposes."""

from __future__ import annotations

from mquans.graph.edits import Editor
from mquans.graph.graph import Node
from mquans.graph.operators import Reshape, Transpose


def merge_layout(editor: Editor) -> bool:
    """Afterwards no reshape reads a reshape, no transpose a transpose, and no transpose moves only
    axes of size 1 (it has become a reshape)."""
    changed = False
    for node in editor.visit():
        match node.op:
            case Reshape() if (before := _before(editor, node, Reshape)) is not None:
                editor.replace(node, node.op, before.inputs)
            case Transpose(perm) if _moves_nothing(perm, editor.graph.shape(node.inputs[0])):
                editor.replace(node, Reshape(editor.graph.shape(node.outputs[0])), node.inputs)
            case Transpose(perm) if (before := _before(editor, node, Transpose)) is not None:
                assert isinstance(before.op, Transpose)
                merged = tuple(before.op.perm[axis] for axis in perm)
                editor.replace(node, Transpose(merged), before.inputs)
            case _:
                continue
        changed = True
    return changed


def _before(editor: Editor, node: Node, kind: type) -> Node | None:
    producer = editor.producer(node.inputs[0])
    return producer if producer is not None and isinstance(producer.op, kind) else None


def _moves_nothing(perm: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    long_axes = [axis for axis in perm if shape[axis] != 1]
    return long_axes == sorted(long_axes) and perm != tuple(range(len(perm)))
