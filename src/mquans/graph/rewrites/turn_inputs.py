"""Turn inputs before they are shifted, scaled or quantized, or their channels reversed.

Networks that take pictures with their channels side by side often prepare them first. A picture
that is turned first is compared where the caller has it, and what follows reads codes.
"""

from __future__ import annotations

from dataclasses import replace

from mquans.graph.edits import Editor
from mquans.graph.graph import Node
from mquans.graph.operators import Binary, Gather, Operator, Slice, Transpose, Unary


def turn_inputs(editor: Editor) -> bool:
    """Afterwards no transposition alone reads an input of the network that was prepared: by
    constants added or multiplied, functions, slices or gathers, each read by the next one alone."""
    changed = False
    for node in editor.visit():
        if isinstance(node.op, Transpose) and _is_prepared_input(editor, node.inputs[0]):
            _swap(editor, node, node.op.perm)
            changed = True
    return changed


def _is_prepared_input(editor: Editor, value: str) -> bool:
    node = editor.producer(value)
    if node is None or not editor.is_private(value):
        return False
    source = _source(editor, node)
    return source is not None and (
        source in editor.graph.inputs or _is_prepared_input(editor, source)
    )


def _source(editor: Editor, node: Node) -> str | None:
    """What a node prepares; of a sum or product with a constant, the operand that is as large as
    the result."""
    if isinstance(node.op, Gather | Slice | Unary):
        return node.inputs[0]
    if not isinstance(node.op, Binary):
        return None
    a, b = node.inputs
    for source, other in ((a, b), (b, a)):
        same = editor.graph.shape(source) == editor.graph.shape(node.outputs[0])
        if editor.constant(source) is None and editor.constant(other) is not None and same:
            return source
    return None


def _swap(editor: Editor, node: Node, perm: tuple[int, ...]) -> None:
    before = editor.producer(node.inputs[0])
    assert before is not None
    source = _source(editor, before)
    assert source is not None
    op = _turned(before.op, perm)
    operands = [
        value if value == source else _turned_constant(editor, value, perm)
        for value in before.inputs
    ]
    moved = editor.replace(before, Transpose(perm), (source,), name=node.name).outputs[0]
    inputs = tuple(moved if value == source else value for value in operands)
    editor.replace(node, op, inputs, name=before.name)


def _turned(op: Operator, perm: tuple[int, ...]) -> Operator:
    """What does the same to a value whose axes are turned."""
    match op:
        case Gather(axis=axis):
            return replace(op, axis=perm.index(axis))
        case Slice(starts=starts, stops=stops, steps=steps):
            return Slice(*(tuple(each[axis] for axis in perm) for each in (starts, stops, steps)))
        case _:
            return op


def _turned_constant(editor: Editor, value: str, perm: tuple[int, ...]) -> str:
    constant = editor.graph.constants[value]
    whole = constant.reshape((1,) * (len(perm) - constant.ndim) + constant.shape)
    return editor.add_constant(value, whole.transpose(perm))
