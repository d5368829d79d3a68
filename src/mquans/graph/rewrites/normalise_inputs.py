"""Write the normalisation of pictures as one product and one sum.

Networks that take pictures as they come subtract means, divide by 255 and by deviations, node by
node. One factor and one offset per channel cost nothing: they are applied while a picture is
compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mquans.graph.edits import Editor
from mquans.graph.graph import Node
from mquans.graph.operators import Binary, Reshape, Resize, Transpose
from mquans.graph.rewrites.fold_affine import channel_vector

MOST_CHANNELS = 4
"""Of pictures."""

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Affine:
    """A value that is `source * factor + offset` of every channel, and the nodes that make it."""

    source: str
    factor: Vector
    offset: Vector
    nodes: tuple[Node, ...] = ()


def normalise_inputs(editor: Editor) -> bool:
    """Afterwards what constants per channel make of a picture [N, C, H, W] that the network takes,
    maybe turned, is a product with a constant, a sum with one, or a product and then a sum; and
    pictures are normalised before they are resized."""
    resized = _before_resizing(editor)
    found: dict[str, _Affine] = {}
    for node in editor.visit():
        if (affine := _after(editor, found, node)) is not None:
            if affine.nodes[:-1]:
                del found[node.inputs[0 if node.inputs[0] in found else 1]]
            found[node.outputs[0]] = affine
    written = [affine for affine in found.values() if not _is_written(editor, affine)]
    for affine in written:
        _write(editor, affine)
    return resized or bool(written)


def _before_resizing(editor: Editor) -> bool:
    """A mean of shifted and scaled values is the shifted and scaled mean."""
    changed = False
    for node in editor.visit():
        if (resized := _resized_picture(editor, node)) is None:
            continue
        resize = editor.producers[resized]
        inputs = tuple(resize.inputs[0] if value == resized else value for value in node.inputs)
        moved = editor.replace(resize, node.op, inputs, name=node.name).outputs[0]
        editor.replace(node, resize.op, (moved,), name=resize.name)
        changed = True
    return changed


def _resized_picture(editor: Editor, node: Node) -> str | None:
    """The picture in another size that a node, alone, scales or shifts."""
    for value in node.inputs:
        resize = editor.producer(value)
        if resize is None or not isinstance(resize.op, Resize) or not editor.is_private(value):
            continue
        source = resize.inputs[0]
        same_channels = editor.graph.shape(source)[:2] == editor.graph.shape(value)[:2]
        alone = source in editor.graph.inputs or editor.is_private(source)
        if same_channels and alone and _leads_to_picture(editor, source):
            return value if _numbers(editor, node, value) is not None else None
    return None


def _leads_to_picture(editor: Editor, value: str) -> bool:
    if _is_picture(editor, value):
        return True
    node = editor.producer(value)
    return node is not None and any(
        _numbers(editor, node, source) is not None and _leads_to_picture(editor, source)
        for source in node.inputs
    )


def _after(editor: Editor, found: dict[str, _Affine], node: Node) -> _Affine | None:
    if not isinstance(node.op, Binary):
        return None
    for source in node.inputs:
        before = found.get(source) if editor.is_private(source) else None
        if before is None and not _is_picture(editor, source):
            continue
        if (numbers := _numbers(editor, node, source)) is None:
            continue
        factor, offset = numbers
        before = before or _Affine(source, np.ones_like(factor), np.zeros_like(factor))
        factor, offset = before.factor * factor, before.offset * factor + offset
        if not np.isfinite([factor, offset]).all():
            return None
        return _Affine(before.source, factor, offset, (*before.nodes, node))
    return None


def _numbers(editor: Editor, node: Node, source: str) -> tuple[Vector, Vector] | None:
    """(factor, offset) of every channel that a node makes its result of, where it does no more."""
    if not isinstance(node.op, Binary) or node.inputs[0] == node.inputs[1]:
        return None
    first = node.inputs[0] == source
    constant = editor.constant(node.inputs[1 if first else 0])
    shape = editor.graph.shape(node.outputs[0])
    if constant is None or len(shape) != 4 or editor.graph.shape(source) != shape:
        return None
    if (numbers := channel_vector(constant, shape, axis=1)) is None:
        return None
    one, zero = np.ones_like(numbers), np.zeros_like(numbers)
    match node.op.kind:
        case "mul":
            return numbers, zero
        case "div" if first and numbers.all():
            return 1 / numbers, zero
        case "add":
            return one, numbers
        case "sub":
            return (one, -numbers) if first else (-one, numbers)
        case _:
            return None


def _is_picture(editor: Editor, value: str) -> bool:
    """An input of the network, maybe turned, of few channels."""
    node, shape = editor.producer(value), editor.graph.shape(value)
    if node is not None and isinstance(node.op, Reshape | Transpose):
        value = node.inputs[0]
    return value in editor.graph.inputs and len(shape) == 4 and shape[1] <= MOST_CHANNELS


def _is_written(editor: Editor, affine: _Affine) -> bool:
    kinds = [node.op.kind for node in affine.nodes if isinstance(node.op, Binary)]
    behind = all(editor.constant(node.inputs[1]) is not None for node in affine.nodes)
    return behind and kinds in (["mul"], ["add"], ["mul", "add"])


def _write(editor: Editor, affine: _Affine) -> None:
    """The nodes in between are left for dead-node removal."""
    last = affine.nodes[-1]
    factor, offset = (
        editor.add_constant(f"{last.name}/{name}", _as_constant(numbers))
        for name, numbers in (("factor", affine.factor), ("offset", affine.offset))
    )
    if not affine.offset.any():
        editor.replace(last, Binary("mul"), (affine.source, factor))
        return
    value = affine.source
    if (affine.factor != 1).any():
        product = editor.insert(last, Binary("mul"), (value, factor), f"{last.name}/scaled")
        value = product.outputs[0]
    editor.replace(last, Binary("add"), (value, offset))


def _as_constant(numbers: Vector) -> Vector:
    """Against [N, C, H, W]; one number where all are the same, which layers can take up."""
    same = (numbers == numbers[0]).all()
    return (numbers[:1] if same else numbers).reshape(-1, 1, 1)
