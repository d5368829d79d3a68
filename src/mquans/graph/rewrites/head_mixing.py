"""Mix the heads of attention where they lie, as a product in floats.

Talking heads (Shazeer et al. 2020; Touvron et al. 2021) multiply scores and weights of attention by
a small matrix over heads:

    scores [B, H, T, T] -> [B, T, T, H] @ [H, H] -> [B, H, T, T]

As a layer over T * T sites that is two transpositions and two conversions around 16 multiplications
per site, none of which a gate saves: one token that moves changes a row of scores.
"""

from __future__ import annotations

from math import prod

import numpy as np

from mquans.graph.edits import Editor
from mquans.graph.graph import Node
from mquans.graph.operators import Binary, Linear, MatMul, Reshape, Transpose

MOST_HEADS = 16
"""From here on a product by sites is worth its conversions."""


def mix_heads(editor: Editor) -> bool:
    """Afterwards no linear layer over few channels is left between a product of two computed
    matrices and the transposition that brings its heads last, on either side; the transposition
    stands on the other side of it."""
    changed = False
    for node in editor.visit():
        if not _is_small(editor, node) or node.outputs[0] in editor.graph.outputs:
            continue
        changed |= _behind_scores(editor, node) or _before_product(editor, node)
    return changed


def _is_small(editor: Editor, node: Node) -> bool:
    if node.op != Linear():
        return False
    return max(editor.graph.shape(node.inputs[1])) <= MOST_HEADS


def _behind_scores(editor: Editor, node: Node) -> bool:
    """product -> transpose -> layer becomes product -> mixing -> transpose."""
    transpose = editor.producer(node.inputs[0])
    if transpose is None or not isinstance(transpose.op, Transpose):
        return False
    source, perm = transpose.inputs[0], transpose.op.perm
    if not _is_product(editor.producer(source)) or perm[-1] == len(perm) - 1:
        return False
    mixed = _mixed(editor, node, node, source, perm[-1])
    editor.replace(node, Transpose(perm), (mixed,))
    return True


def _before_product(editor: Editor, node: Node) -> bool:
    """layer -> transpose -> product becomes transpose -> mixing -> product."""
    transpose = _only_reader(editor, node.outputs[0])
    if transpose is None or not isinstance(transpose.op, Transpose):
        return False
    perm = transpose.op.perm
    axis = perm.index(len(perm) - 1)
    if not _is_product(_only_reader(editor, transpose.outputs[0])) or axis == len(perm) - 1:
        return False
    turned = editor.insert(transpose, Transpose(perm), (node.inputs[0],), f"{node.name}/turned")
    mixed = _mixed(editor, node, transpose, turned.outputs[0], axis)
    copy = editor.replace(transpose, Reshape(editor.graph.shape(mixed)), (mixed,))
    return editor.alias(copy)


def _is_product(node: Node | None) -> bool:
    return node is not None and isinstance(node.op, MatMul)


def _only_reader(editor: Editor, value: str) -> Node | None:
    return editor.readers[value][0] if editor.is_private(value) else None


def _mixed(editor: Editor, layer: Node, before: Node, source: str, axis: int) -> str:
    """The layer along an axis of a value, by nodes in front of another."""
    graph, name = editor.graph, layer.name
    dims = graph.shape(source)
    matrix = np.asarray(graph.constants[layer.inputs[1]]).T
    flat = (prod(dims[:axis]), dims[axis], prod(dims[axis + 1 :]))
    value = editor.insert(before, Reshape(flat), (source,), f"{name}/heads").outputs[0]
    weight = editor.add_constant(f"{name}/matrix", matrix[None])
    value = editor.insert(before, MatMul(), (weight, value), f"{name}/mixed").outputs[0]
    if len(layer.inputs) > 2 and layer.inputs[2]:
        bias = graph.constants[layer.inputs[2]].reshape(-1, 1)
        terms = (value, editor.add_constant(f"{name}/offset", bias))
        value = editor.insert(before, Binary("add"), terms, f"{name}/sum").outputs[0]
    shape = (*dims[:axis], len(matrix), *dims[axis + 1 :])
    return editor.insert(before, Reshape(shape), (value,), f"{name}/apart").outputs[0]
