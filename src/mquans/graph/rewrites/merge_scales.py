"""Join scalings by one number that follow each other, also through a product of two values.

Between quantized layers every value is scaled to what it stands for, multiplied, and scaled back to
whole steps: `(x * s) * (y * t) / u` becomes `(x * y) * (s * t / u)`.
"""

from __future__ import annotations

import numpy as np

from mquans.graph.edits import Editor
from mquans.graph.graph import Node
from mquans.graph.operators import Binary


def merge_scales(editor: Editor) -> bool:
    """Afterwards no scaling reads, alone, another one or a product with a scaled value."""
    changed = False
    for node in editor.visit():
        # A product may have two scaled operands, and be followed by a scaling that has been joined.
        while (merged := _merge(editor, node)) is not None:
            node, changed = merged, True
    return changed


def _merge(editor: Editor, node: Node) -> Node | None:
    """The scaling that takes a node's place, with what it has taken over from in front of it."""
    outer = editor.scaling(node)
    if outer is None or not editor.is_private(outer[0]):
        return None
    product = editor.producer(outer[0])
    if product is None or not isinstance(product.op, Binary):
        return None
    if (inner := editor.scaling(product)) is not None:
        return _scaled(editor, node, inner[0], inner[1] * outer[1], absorbed=product)
    if product.op.kind != "mul":
        return None
    for which, operand in enumerate(product.inputs):
        scaled = editor.producer(operand)
        inner = editor.scaling(scaled) if scaled is not None else None
        if inner is not None:
            other = product.inputs[1 - which]
            plain = editor.replace(product, Binary("mul"), (inner[0], other))
            return _scaled(editor, node, plain.outputs[0], inner[1] * outer[1])
    return None


def _scaled(
    editor: Editor, node: Node, source: str, factor: float, *, absorbed: Node | None = None
) -> Node:
    scale = editor.add_constant(f"{node.name}/scale", np.array(factor))
    return editor.replace(node, Binary("mul"), (source, scale), absorbed=absorbed)
