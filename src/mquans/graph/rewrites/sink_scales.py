"""Move a scaling by one number behind what only picks, moves or averages values.

There it meets the layer that reads them, whose weights take it up: quantized networks have one in
front of every pool, and of every mean over all sites.
"""

from __future__ import annotations

from mquans.graph.edits import Editor
from mquans.graph.graph import Node
from mquans.graph.operators import Binary, Gather, Pool, Reduce, Reshape, Slice, Transpose

MOVES = Gather | Pool | Reduce | Reshape | Slice | Transpose


def sink_scales(editor: Editor) -> bool:
    """Afterwards no product with one number is read by pools, means, sums, slices, gathers,
    reshapes and transpositions alone; by max pools, with a positive one."""
    changed = False
    for node in editor.visit():
        if not isinstance(node.op, MOVES):
            continue
        scaled = node.inputs[0]
        scaling = editor.producer(scaled)
        readers = editor.readers.get(scaled, ())
        if (
            scaling is not None
            and scaled not in editor.graph.outputs
            and all(isinstance(reader.op, MOVES) for reader in readers)
        ):
            changed |= _swap(editor, node, scaling)
    return changed


def _swap(editor: Editor, node: Node, scaling: Node) -> bool:
    if not isinstance(scaling.op, Binary) or scaling.op.kind != "mul":
        return False
    shape = editor.graph.shape(scaling.outputs[0])
    for source, factor in (scaling.inputs, scaling.inputs[::-1]):
        number = editor.scalar(factor)
        if number is None or editor.graph.shape(source) != shape:
            continue
        match node.op:
            case Pool(kind="max") if number <= 0:
                continue
            case Reduce(kind=kind) if kind not in ("mean", "sum"):
                continue
        scalar = editor.add_constant(factor, editor.graph.constants[factor].reshape(()))
        if editor.is_private(scaling.outputs[0]):
            moved = editor.replace(scaling, node.op, (source,), name=node.name)
            name = scaling.name
        else:
            moved = editor.insert(node, node.op, (source,), f"{node.name}/unscaled")
            name = node.name
        editor.replace(node, Binary("mul"), (moved.outputs[0], scalar), name=name)
        return True
    return False
