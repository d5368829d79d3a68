"""Turn inputs before they are shifted and scaled.

Networks that take pictures with their channels side by side often normalise them first. A picture
that is turned first is compared where the caller has it, and what follows reads codes.
"""

from __future__ import annotations

from mquans.graph.edits import Editor
from mquans.graph.graph import Node
from mquans.graph.operators import Binary, Transpose


def turn_inputs(editor: Editor) -> bool:
    """Afterwards no transposition alone reads an input of the network that constants were added to
    or multiplied with."""
    changed = False
    for node in editor.visit():
        if isinstance(node.op, Transpose) and _is_shifted_input(editor, node.inputs[0]):
            _swap(editor, node, node.op.perm)
            changed = True
    return changed


def _is_shifted_input(editor: Editor, value: str) -> bool:
    node = editor.producer(value)
    if node is None or not isinstance(node.op, Binary) or not editor.is_private(value):
        return False
    source = _source(editor, node)
    return source is not None and (
        source in editor.graph.inputs or _is_shifted_input(editor, source)
    )


def _source(editor: Editor, node: Node) -> str | None:
    """The operand that is no constant and as large as the result."""
    a, b = node.inputs
    for source, other in ((a, b), (b, a)):
        same = editor.graph.shape(source) == editor.graph.shape(node.outputs[0])
        if editor.constant(source) is None and editor.constant(other) is not None and same:
            return source
    return None


def _swap(editor: Editor, node: Node, perm: tuple[int, ...]) -> None:
    shifted = editor.producer(node.inputs[0])
    assert shifted is not None
    source = _source(editor, shifted)
    assert source is not None
    first = shifted.inputs[0] == source
    name = shifted.inputs[1] if first else shifted.inputs[0]
    constant = editor.graph.constants[name]
    whole = constant.reshape((1,) * (len(perm) - constant.ndim) + constant.shape)
    turned = editor.add_constant(name, whole.transpose(perm))
    moved = editor.replace(shifted, Transpose(perm), (source,), name=node.name).outputs[0]
    editor.replace(
        node, shifted.op, (moved, turned) if first else (turned, moved), name=shifted.name
    )
