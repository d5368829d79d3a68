"""Fuse an elementwise activation into the reuse layer before it."""

from __future__ import annotations

from dataclasses import replace

from mquans.graph.edits import Editor
from mquans.graph.operators import Conv, ConvTranspose, Linear, Unary
from mquans.graph.relations import functions_before_quotients

FUSED = frozenset({
    "relu", "leaky_relu", "clip", "sigmoid", "silu", "hard_sigmoid", "hard_swish", "tanh", "gelu",
    "gelu_tanh", "elu", "quantize",
})  # fmt: skip
"""Functions that have an integer form, so that a layer over sites can end with them."""


LARGEST_CODE = 2**15 - 1
"""Of codes of 16 bits."""

MOST_ALPHA = 8.0
"""Of ELUs: the bound of their results below zero, which codes must reach."""


def fuse_activations(editor: Editor) -> bool:
    """Afterwards no activation alone reads a reuse layer that has none yet.

    The value before the activation disappears, so it must have no other reader and not be an output
    of the graph; and what a logarithm hears of has no codes.
    """
    changed = False
    apart = functions_before_quotients(editor.graph)
    for node in editor.visit():
        if not isinstance(node.op, Unary) or not has_integer_form(node.op) or node.name in apart:
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


def has_integer_form(op: Unary) -> bool:
    """True for functions that are computed on codes."""
    match op.kind:
        case "leaky_relu":
            return 0 <= op.params[0] <= 1
        case "hard_sigmoid":
            return 0 < op.params[0] < 1 and op.params[1] == 0.5
        case "elu":
            return 0 < op.params[0] <= MOST_ALPHA
        case "clip":
            return op.params[0] <= 0 <= op.params[1]
        case "quantize":
            return -LARGEST_CODE <= op.params[0] <= 0 <= op.params[1] <= LARGEST_CODE
        case kind:
            return kind in FUSED
