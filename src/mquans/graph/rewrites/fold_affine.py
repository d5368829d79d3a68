"""Fold multiplications and additions of constants behind a reuse layer into its weights.

This is how batch norm disappears: the importer writes it as a multiplication and an addition.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mquans.graph.edits import Editor
from mquans.graph.graph import Node
from mquans.graph.operators import Binary, Conv, ConvTranspose, Linear

Vector = npt.NDArray[np.float64]


def fold_affine(editor: Editor) -> bool:
    """Afterwards no reuse layer without activation is followed, as its only reader, by an add, sub,
    mul or div with a constant that varies along output channels only."""
    changed = False
    for node in editor.visit():
        if isinstance(node.op, Binary) and node.op.kind in ("add", "sub", "mul", "div"):
            changed |= _fold(editor, node, node.op.kind)
    return changed


def _fold(editor: Editor, node: Node, kind: str) -> bool:
    constants = [editor.constant(value) for value in node.inputs]
    side = 1 if constants[1] is not None else 0
    constant, source = constants[side], node.inputs[1 - side]
    layer = editor.producer(source)
    if constant is None or layer is None or not editor.is_private(source):
        return False
    if not isinstance(layer.op, Conv | ConvTranspose | Linear) or layer.op.activation is not None:
        return False
    shape = editor.graph.shape(source)
    axis = len(shape) - 1 if isinstance(layer.op, Linear) else 1
    vector = channel_vector(constant, shape, axis)
    if vector is None or editor.graph.shape(node.outputs[0]) != shape:
        return False
    scale, shift = np.ones_like(vector), np.zeros_like(vector)
    if kind == "mul":
        scale = vector
    elif kind == "div":
        if side == 0 or not vector.all():
            return False
        scale = 1.0 / vector
    elif kind == "add":
        shift = vector
    else:
        scale, shift = (scale, -vector) if side == 1 else (-scale, vector)
    _apply(editor, layer, node, scale, shift)
    return True


def channel_vector(
    constant: npt.NDArray[np.generic], shape: tuple[int, ...], axis: int
) -> Vector | None:
    """A constant operand as one number per channel, or None when it varies along other axes.

    Args:
        constant: broadcast against a value of `shape`.
        axis: the channel axis of that value.

    Returns:
        float64 [shape[axis]].
    """
    if constant.ndim > len(shape):
        return None
    padded = constant.reshape((1,) * (len(shape) - constant.ndim) + constant.shape)
    if any(size != 1 for i, size in enumerate(padded.shape) if i != axis):
        return None
    return np.broadcast_to(padded.reshape(-1).astype(np.float64), (shape[axis],)).copy()


def _apply(editor: Editor, layer: Node, node: Node, scale: Vector, shift: Vector) -> None:
    constants = editor.graph.constants
    weight = constants[layer.inputs[1]].astype(np.float64)
    if isinstance(layer.op, ConvTranspose):
        # weight [C, O/groups, ...]: output channel o of group j sits in the rows of that group.
        groups = layer.op.groups
        grouped = weight.reshape(groups, -1, *weight.shape[1:])
        factors = scale.reshape(groups, 1, -1, *(1,) * (weight.ndim - 2))
        weight = (grouped * factors).reshape(weight.shape)
    elif isinstance(layer.op, Conv):
        weight = weight * scale.reshape(-1, *(1,) * (weight.ndim - 1))
    else:
        weight = weight * scale
    has_bias = len(layer.inputs) > 2 and layer.inputs[2] != ""
    bias = constants[layer.inputs[2]].astype(np.float64) * scale if has_bias else 0.0
    inputs = (
        layer.inputs[0],
        editor.add_constant(layer.inputs[1], weight),
        editor.add_constant(layer.inputs[2] if has_bias else f"{layer.name}/bias", bias + shift),
    )
    editor.replace(node, layer.op, inputs, name=layer.name, absorbed=layer)
