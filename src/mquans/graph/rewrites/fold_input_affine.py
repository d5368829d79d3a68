"""Fold a scaling or a shift in front of a reuse layer into its weights and bias.

Networks that normalise pixels themselves, or learn a scale and shift behind an activation, would
otherwise touch every value once more before the layer does.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mquans.graph.edits import Editor
from mquans.graph.graph import Node
from mquans.graph.operators import Binary, Conv, ConvTranspose, Linear
from mquans.graph.rewrites.fold_affine import channel_vector

Vector = npt.NDArray[np.float64]


def fold_input_affine(editor: Editor) -> bool:
    """Afterwards no reuse layer reads a product with one number; and no convolution without
    padding, nor linear layer, alone reads a sum with a constant per channel.

    Factors per channel stay: they would spread the weights of one output over a wider range, which
    integer weights have to pay for. Shifts stay before padding, since the border is not shifted.
    """
    changed = False
    for layer in editor.visit():
        if not isinstance(layer.op, Conv | ConvTranspose | Linear):
            continue
        node = editor.producer(layer.inputs[0])
        if node is None or not isinstance(node.op, Binary):
            continue
        changed |= _scale(editor, layer, node)
        if editor.producer(layer.inputs[0]) is node and editor.is_private(layer.inputs[0]):
            changed |= _shift(editor, layer, node)
    return changed


def _scale(editor: Editor, layer: Node, node: Node) -> bool:
    assert isinstance(node.op, Binary)
    sides = (0, 1) if node.op.kind == "mul" else (1,) if node.op.kind == "div" else ()
    for side in sides:
        factor, source = editor.scalar(node.inputs[side]), node.inputs[1 - side]
        if not factor or editor.graph.shape(source) != editor.graph.shape(layer.inputs[0]):
            continue
        factor = factor if node.op.kind == "mul" else 1.0 / factor
        weight = editor.graph.constants[layer.inputs[1]].astype(np.float64) * factor
        inputs = (source, editor.add_constant(layer.inputs[1], weight), *layer.inputs[2:])
        absorbed = node if editor.is_private(layer.inputs[0]) else None
        editor.replace(layer, layer.op, inputs, absorbed=absorbed)
        return True
    return False


def _shift(editor: Editor, layer: Node, node: Node) -> bool:
    assert isinstance(node.op, Binary)
    if isinstance(layer.op, ConvTranspose) or (isinstance(layer.op, Conv) and any(layer.op.pads)):
        return False
    shape = editor.graph.shape(layer.inputs[0])
    axis = len(shape) - 1 if isinstance(layer.op, Linear) else 1
    sides = (0, 1) if node.op.kind == "add" else (1,) if node.op.kind == "sub" else ()
    for side in sides:
        constant, source = editor.constant(node.inputs[side]), node.inputs[1 - side]
        if constant is None or editor.graph.shape(source) != shape:
            continue
        vector = channel_vector(constant, shape, axis)
        if vector is None:
            continue
        vector = vector if node.op.kind == "add" else -vector
        bias = _through(layer, editor.graph.constants[layer.inputs[1]], vector)
        has_bias = len(layer.inputs) > 2
        if has_bias:
            bias = bias + editor.graph.constants[layer.inputs[2]].astype(np.float64)
        name = layer.inputs[2] if has_bias else f"{layer.name}/bias"
        inputs = (source, layer.inputs[1], editor.add_constant(name, bias))
        editor.replace(layer, layer.op, inputs, absorbed=node)
        return True
    return False


def _through(layer: Node, weight: npt.NDArray[np.generic], vector: Vector) -> Vector:
    """What the layer makes of a constant input: one number per output channel."""
    exact = weight.astype(np.float64)
    if isinstance(layer.op, Linear):
        return np.asarray(vector @ exact)
    assert isinstance(layer.op, Conv)
    groups = layer.op.groups
    taps = exact.sum(axis=tuple(range(2, exact.ndim))).reshape(groups, -1, exact.shape[1])
    return np.asarray((taps @ vector.reshape(groups, -1, 1)).reshape(-1))
