"""Take a scaling by one number into the layer that it goes back to.

Attention scales queries, keys or the products of both, behind what splits them into heads.
"""

from __future__ import annotations

import numpy as np

from mquans.graph.edits import Editor
from mquans.graph.graph import Node
from mquans.graph.operators import Conv, ConvTranspose, Linear, MatMul, Reshape, Transpose


def hoist_scales(editor: Editor) -> bool:
    """Afterwards no product with one number, or quotient, is left behind reshapes, transpositions
    and products of matrices that lead back to a layer without activation, each of them read by the
    next one alone."""
    changed = False
    for node in editor.visit():
        if (found := editor.scaling(node)) is None:
            continue
        source, number = found
        layer = _layer_behind(editor, source)
        if layer is None:
            continue
        constants = editor.graph.constants
        scaled = [
            editor.add_constant(name, number * constants[name].astype(np.float64)) if name else name
            for name in layer.inputs[1:]
        ]
        editor.replace(layer, layer.op, (layer.inputs[0], *scaled))
        copy = editor.replace(node, Reshape(editor.graph.shape(source)), (source,))
        editor.alias(copy)
        changed = True
    return changed


def _layer_behind(editor: Editor, value: str) -> Node | None:
    node = editor.producer(value)
    if node is None or not editor.is_private(value):
        return None
    match node.op:
        case Conv(activation=None) | ConvTranspose(activation=None) | Linear(activation=None):
            return node
        case Reshape() | Transpose():
            return _layer_behind(editor, node.inputs[0])
        case MatMul():
            found = (_layer_behind(editor, operand) for operand in node.inputs)
            return next((layer for layer in found if layer is not None), None)
    return None
