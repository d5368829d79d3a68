"""Collapse chains of reshapes, transposes and slices that only pick channels into one Gather.

ShuffleNet-like networks shuffle channels with reshape-transpose-reshape and split them again. Which
channels a chain picks is decided by pushing the index of every element through it, so no pattern
has to be known.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mquans.graph.edits import Editor
from mquans.graph.graph import Node
from mquans.graph.operators import Gather, Operator, Reshape, Slice, Transpose

Indices = npt.NDArray[np.int64]
LAYOUT = Reshape | Transpose | Slice | Gather


def select_channels(editor: Editor) -> bool:
    """Afterwards every chain of two or more layout nodes that amounts to `take(x, indices, axis=1)`
    is one Gather; the nodes in between are left for dead-node removal."""
    changed = False
    for node in editor.visit():
        if isinstance(node.op, LAYOUT) and _is_chain_end(editor, node):
            changed |= _collapse(editor, node)
    return changed


def move(op: Operator, array: Indices) -> Indices:
    """Apply a layout operator to an array of any dtype."""
    match op:
        case Reshape(shape):
            return array.reshape(shape)
        case Transpose(perm):
            return array.transpose(perm)
        case Slice(starts, stops, steps):
            return array[slices(starts, stops, steps)]
        case Gather(axis, indices):
            return np.take(array, indices, axis=axis)
    raise TypeError(f"{op} does more than move values")


def slices(
    starts: tuple[int, ...], stops: tuple[int, ...], steps: tuple[int, ...]
) -> tuple[slice, ...]:
    """numpy's slices for a Slice operator, whose stop -1 means 'through index 0'."""
    return tuple(
        slice(start, None if step < 0 and stop < 0 else stop, step)
        for start, stop, step in zip(starts, stops, steps, strict=True)
    )


def _is_chain_end(editor: Editor, node: Node) -> bool:
    output = node.outputs[0]
    readers = editor.readers.get(output, ())
    return output in editor.graph.outputs or any(
        not isinstance(reader.op, LAYOUT) for reader in readers
    )


def _collapse(editor: Editor, end: Node) -> bool:
    chain = [end]
    while (before := editor.producer(chain[0].inputs[0])) and isinstance(before.op, LAYOUT):
        chain.insert(0, before)
    target = editor.graph.shape(end.outputs[0])
    # The earliest source first: the longest chain becomes one node.
    for start in range(len(chain) - 1):
        source = chain[start].inputs[0]
        shape = editor.graph.shape(source)
        if len(shape) < 2 or len(shape) != len(target) or shape[2:] != target[2:]:
            continue
        if shape[0] != target[0]:
            continue
        indices = np.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape)
        result = indices
        for node in chain[start:]:
            result = move(node.op, result)
        channels = _picked(indices, result)
        if channels is not None:
            editor.replace(end, Gather(1, channels), (source,))
            return True
    return False


def _picked(source: Indices, result: Indices) -> tuple[int, ...] | None:
    if result.size == 0 or source.size == 0:
        return None
    per_channel = int(np.prod(source.shape[2:], dtype=np.int64))
    channels = result.reshape(result.shape[0], result.shape[1], -1)[0, :, 0] // per_channel
    if channels.max() >= source.shape[1]:
        return None
    if not np.array_equal(np.take(source, channels, axis=1), result):
        return None
    return tuple(int(channel) for channel in channels)
