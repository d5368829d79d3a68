"""Read the parts that a concatenation of channels was made of, not slices of it.

Detectors put boxes and scores of every scale into one tensor, put the scales behind each other, and
then take boxes and scores apart again.
"""

from __future__ import annotations

from dataclasses import dataclass

from mquans.graph.edits import Editor
from mquans.graph.graph import Node
from mquans.graph.operators import Concat, Reshape, Slice


def part_concats(editor: Editor) -> bool:
    """Afterwards no value is only read by slices that are parts of concatenations in front of it,
    behind nothing but reshapes and concatenations along other axes."""
    changed = False
    for node in editor.visit():
        wanted = _range_of(editor, node)
        if wanted is None:
            continue
        source = node.inputs[0]
        ranges = [_range_of(editor, reader) for reader in editor.readers[source]]
        if source in editor.graph.outputs or not all(
            other is not None and _has_part(editor, source, other) for other in ranges
        ):
            continue
        part = _part(editor, node, source, wanted)
        editor.alias(editor.replace(node, Reshape(editor.graph.shape(part)), (part,)))
        changed = True
    return changed


@dataclass(frozen=True, slots=True)
class _Range:
    axis: int
    start: int
    stop: int


def _range_of(editor: Editor, node: Node) -> _Range | None:
    """What a slice takes along the only axis that it shortens; None of other nodes."""
    if not isinstance(node.op, Slice) or set(node.op.steps) != {1}:
        return None
    whole, taken = editor.graph.shape(node.inputs[0]), editor.graph.shape(node.outputs[0])
    axes = [axis for axis, sizes in enumerate(zip(whole, taken, strict=True)) if len({*sizes}) > 1]
    if len(axes) != 1:
        return None
    return _Range(axes[0], node.op.starts[axes[0]], node.op.stops[axes[0]])


def _has_part(editor: Editor, value: str, wanted: _Range) -> bool:
    """Whether a range of a value is, scale by scale, a whole part of a concatenation."""
    node = editor.producer(value)
    match node.op if node else None:
        case Concat(axis=axis) if node and axis == wanted.axis:
            return _exact(editor, node, wanted) is not None
        case Concat() if node:
            return all(_has_part(editor, part, wanted) for part in node.inputs)
        case Reshape() if node and _keeps(editor, node, wanted.axis):
            return _has_part(editor, node.inputs[0], wanted)
    return False


def _part(editor: Editor, before: Node, value: str, wanted: _Range) -> str:
    """The value that `_has_part` promises, made in front of a node."""
    node = editor.producer(value)
    assert node is not None
    if isinstance(node.op, Reshape):
        part = _part(editor, before, node.inputs[0], wanted)
        shape = list(editor.graph.shape(value))
        shape[wanted.axis] = wanted.stop - wanted.start
        return editor.insert(before, Reshape(tuple(shape)), (part,), f"{value}/part").outputs[0]
    if (exact := _exact(editor, node, wanted)) is not None:
        return exact
    parts = tuple(_part(editor, before, part, wanted) for part in node.inputs)
    return editor.insert(before, node.op, parts, f"{value}/part").outputs[0]


def _exact(editor: Editor, node: Node, wanted: _Range) -> str | None:
    """The part of a concatenation that is a range of it."""
    if not isinstance(node.op, Concat) or node.op.axis != wanted.axis:
        return None
    start = 0
    for part in node.inputs:
        stop = start + editor.graph.shape(part)[wanted.axis]
        if (start, stop) == (wanted.start, wanted.stop):
            return part
        start = stop
    return None


def _keeps(editor: Editor, node: Node, axis: int) -> bool:
    """Whether a reshape leaves an axis, and all in front of it, as they are."""
    shape, source = editor.graph.shape(node.outputs[0]), editor.graph.shape(node.inputs[0])
    return shape[: axis + 1] == source[: axis + 1]
