"""Fold padding into the convolution or pool that follows."""

from __future__ import annotations

import math
from dataclasses import replace

from mquans.graph.edits import Editor
from mquans.graph.operators import Conv, Operator, Pad, Pool

Ints = tuple[int, ...]


def fold_pad(editor: Editor) -> bool:
    """Afterwards no padding of spatial axes is read alone by a node that can pad by itself: zeros
    by a convolution or average pool, minus infinity by a max pool."""
    changed = False
    for node in editor.visit():
        if not isinstance(node.op, Conv | Pool):
            continue
        pad = editor.producer(node.inputs[0])
        if pad is None or not isinstance(pad.op, Pad) or not editor.is_private(node.inputs[0]):
            continue
        rank = len(pad.op.pads) // 2
        begins, ends = pad.op.pads[:rank], pad.op.pads[rank:]
        if pad.op.mode != "constant" or any(begins[:2] + ends[:2]):
            continue
        op = _padded(node.op, begins[2:] + ends[2:], pad.op.value)
        if op is not None:
            editor.replace(node, op, (pad.inputs[0], *node.inputs[1:]), absorbed=pad)
            changed = True
    return changed


def _padded(op: Conv | Pool, extra: Ints, value: float) -> Operator | None:
    pads = tuple(a + b for a, b in zip(op.pads, extra, strict=True))
    if isinstance(op, Conv):
        return replace(op, pads=pads) if value == 0.0 else None
    # A pool's padding must be smaller than its window.
    if op.ceil_mode or any(pad >= size for pad, size in zip(pads, op.kernel * 2, strict=True)):
        return None
    if op.kind == "max":
        return replace(op, pads=pads) if value == -math.inf else None
    # Zeros written by a Pad count in the mean; a pool with padding of its own may not count that.
    if value != 0.0 or (any(op.pads) and not op.count_include_pad):
        return None
    return replace(op, pads=pads, count_include_pad=True)
