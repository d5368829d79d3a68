"""Quantize the parts of a concatenation instead of the whole.

Each part then goes from its own steps to the new ones where it is made, often as part of the layer
that makes it, and the concatenation is only a place.
"""

from __future__ import annotations

from mquans.graph.edits import Editor
from mquans.graph.graph import Node
from mquans.graph.operators import Concat, Unary


def quantize_parts(editor: Editor) -> bool:
    """Afterwards no quantization alone reads a concatenation, be it through a scaling by one
    number."""
    changed = False
    for node in editor.visit():
        if isinstance(node.op, Unary) and node.op.kind == "quantize":
            changed |= _split(editor, node, node.op)
    return changed


def _split(editor: Editor, node: Node, op: Unary) -> bool:
    source, scaling = node.inputs[0], editor.producer(node.inputs[0])
    found = editor.scaling(scaling) if scaling is not None else None
    if found is not None:
        if not editor.is_private(source):
            return False
        source = found[0]
    joined = editor.producer(source)
    if joined is None or not isinstance(joined.op, Concat) or not editor.is_private(source):
        return False
    if any(editor.constant(part) is not None for part in joined.inputs):
        return False
    parts = []
    for index, part in enumerate(joined.inputs):
        label = f"{node.name}/part{index}"
        if found is not None and scaling is not None:
            inputs = tuple(part if value == source else value for value in scaling.inputs)
            part = editor.insert(node, scaling.op, inputs, f"{label}/steps").outputs[0]
        parts.append(editor.insert(node, op, (part,), label).outputs[0])
    editor.replace(node, joined.op, tuple(parts))
    return True
