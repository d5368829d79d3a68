"""Fuse an elementwise activation into the reuse layer before it."""

from __future__ import annotations

from dataclasses import replace

from mquans.graph.edits import Editor
from mquans.graph.operators import Conv, ConvTranspose, Linear, Unary

FUSED = frozenset({
    "relu", "leaky_relu", "clip", "sigmoid", "silu", "hard_sigmoid", "hard_swish", "tanh", "elu",
    "selu", "gelu", "gelu_tanh", "softplus", "mish",
})  # fmt: skip
"""Functions that networks use as activations. The others (exp, sqrt...) belong to formulas."""


def fuse_activations(editor: Editor) -> bool:
    """Afterwards no activation alone reads a reuse layer that has none yet.

    The value before the activation disappears, so it must have no other reader and not be an output
    of the graph.
    """
    changed = False
    for node in editor.visit():
        if not isinstance(node.op, Unary) or node.op.kind not in FUSED:
            continue
        layer = editor.producer(node.inputs[0])
        if layer is None or not editor.is_private(node.inputs[0]):
            continue
        if not isinstance(layer.op, Conv | ConvTranspose | Linear) or layer.op.activation:
            continue
        op = replace(layer.op, activation=node.op)
        editor.replace(node, op, layer.inputs, name=layer.name, absorbed=layer)
        changed = True
    return changed
