"""Let a convolution read pixels that were folded into channels where they were before.

YOLOX and YOLOv5 begin by cutting the picture into every other pixel and stacking the four pieces as
channels. A convolution over that is one over the picture, with a larger kernel and stride.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np

from mquans.graph.edits import Editor
from mquans.graph.operators import Concat, Conv, Slice

Ints = tuple[int, ...]


def unfold_space(editor: Editor) -> bool:
    """Afterwards no convolution of one group reads all the pieces of a value that was cut into
    every n-th site; pieces that nobody else reads are left for dead-node removal."""
    changed = False
    for node in editor.visit():
        op = node.op
        if not isinstance(op, Conv) or op.groups != 1 or any(d != 1 for d in op.dilations):
            continue
        joined = editor.producer(node.inputs[0])
        if joined is None or not isinstance(joined.op, Concat) or joined.op.axis != 1:
            continue
        pieces = [_piece(editor, value) for value in joined.inputs]
        source, _, steps = pieces[0]
        if any((piece[0], piece[2]) != (source, steps) for piece in pieces):
            continue
        starts = [start for _, start, _ in pieces]
        shape = editor.graph.shape(source)
        weight = editor.constant(node.inputs[1])
        if (
            weight is None
            or all(step == 1 for step in steps)
            or sorted(starts) != list(product(*map(range, steps)))
            or any(size % step for size, step in zip(shape[2:], steps, strict=True))
        ):
            continue
        kernel = _times(op.kernel, steps)
        unfolded = np.zeros((weight.shape[0], shape[1], *kernel), np.float32)
        for k, start in enumerate(starts):
            at = tuple(slice(s, None, step) for s, step in zip(start, steps, strict=True))
            unfolded[:, :, *at] = weight[:, k * shape[1] : (k + 1) * shape[1]]
        wide = replace(
            op,
            kernel=kernel,
            strides=_times(op.strides, steps),
            pads=_times(op.pads, steps * 2),
            dilations=(1,) * len(kernel),
        )
        name = editor.add_constant(f"{node.inputs[1]}:unfolded", unfolded)
        editor.replace(node, wide, (source, name, *node.inputs[2:]))
        changed = True
    return changed


def _piece(editor: Editor, value: str) -> tuple[str, Ints, Ints]:
    """(source, first site, steps) of what a value takes of another one's spatial axes, to their
    ends; slices of slices are followed."""
    rank = len(editor.graph.shape(value))
    starts, steps = (0,) * (rank - 2), (1,) * (rank - 2)
    while (node := editor.producer(value)) is not None and isinstance(node.op, Slice):
        op, shape = node.op, editor.graph.shape(node.inputs[0])
        result = editor.graph.shape(value)
        through = all(
            step > start and result[axis] == len(range(start, shape[axis], step))
            for axis, (start, step) in enumerate(zip(op.starts, op.steps, strict=True))
        )
        if not through or op.steps[:2] != (1, 1):
            break
        starts = tuple(
            a + b * c for a, b, c in zip(op.starts[2:], op.steps[2:], starts, strict=True)
        )
        steps = _times(steps, op.steps[2:])
        value = node.inputs[0]
    return value, starts, steps


def _times(a: Ints, b: Ints) -> Ints:
    return tuple(x * y for x, y in zip(a, b, strict=True))
