"""Compute linear layers of very many inputs as sums of layers over parts of them.

What changes between two frames is listed by numbers of 16 bits. A classifier that flattens a whole
picture of features reads more than these count.
"""

from __future__ import annotations

import numpy as np

from mquans.graph.edits import Editor
from mquans.graph.operators import Binary, Linear, Slice

MOST_INPUTS = 2**16 - 1

PART = 2**14
"""Inputs of a part, at most: the fewer share the 32 bits of a sum, the finer are its weights."""


def split_wide_layers(editor: Editor) -> bool:
    """Afterwards no linear layer reads more than `MOST_INPUTS` inputs."""
    changed = False
    for node in editor.visit():
        if not isinstance(node.op, Linear) or node.op.activation is not None:
            continue
        value, weight, *bias = node.inputs
        array, shape = editor.graph.constants[weight], editor.graph.shape(value)
        if len(array) <= MOST_INPUTS:
            continue
        edges = np.linspace(0, len(array), -(-len(array) // PART) + 1).astype(int)
        sums: list[str] = []
        for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            starts, stops = (0,) * (len(shape) - 1) + (start,), (*shape[:-1], stop)
            part = editor.insert(
                node, Slice(starts, stops, (1,) * len(shape)), (value,), f"{node.name}/inputs"
            )
            rows = editor.add_constant(f"{weight}/part", array[start:stop])
            inputs = (part.outputs[0], rows, *(bias if not sums else ()))
            made = editor.insert(node, node.op, inputs, f"{node.name}/part")
            sums.append(made.outputs[0])
        while len(sums) > 2:
            added = editor.insert(node, Binary("add"), (sums[0], sums[1]), f"{node.name}/sum")
            sums = [added.outputs[0], *sums[2:]]
        editor.replace(node, Binary("add"), (sums[0], sums[1]))
        changed = True
    return changed
