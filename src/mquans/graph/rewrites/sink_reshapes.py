"""Let linear layers read and write the rows of a sequence as they lie, however many axes they have.

Exporters and optimizers flatten sequences to matrices in front of a layer and cut them up behind
it. In between lie what could be computed as codes, and reshapes are made of floats.
"""

from __future__ import annotations

from mquans.graph.edits import Editor
from mquans.graph.graph import Node
from mquans.graph.operators import Linear, Reshape


def sink_reshapes(editor: Editor) -> bool:
    """Afterwards no linear layer between reshapes reads one that keeps the last axis."""
    changed = False
    for node in editor.visit():
        if not isinstance(node.op, Linear) or node.op.batch:
            continue
        reshape, (result,) = editor.producer(node.inputs[0]), node.outputs
        if reshape is None or not _keeps_rows(editor, reshape):
            continue
        readers = editor.readers.get(result, ())
        if result in editor.graph.outputs or not readers:
            continue
        if all(isinstance(reader.op, Reshape) for reader in readers):
            inputs = (reshape.inputs[0], *node.inputs[1:])
            moved = editor.insert(node, node.op, inputs, node.name)
            shape = editor.graph.shape(result)
            editor.replace(node, Reshape(shape), moved.outputs, name=f"{node.name}/rows")
            changed = True
    return changed


def _keeps_rows(editor: Editor, node: Node) -> bool:
    if not isinstance(node.op, Reshape) or node.inputs[0] in editor.graph.constants:
        return False
    shape, rows = editor.graph.shape(node.inputs[0]), editor.graph.shape(node.outputs[0])
    return len(shape) > 1 and len(rows) > 1 and shape[-1] == rows[-1]
