"""Say of linear layers whose rows are time steps that they are: rows are then compared in time.

A network that takes a whole sequence per frame repeats itself from step to step, not from sequence
to sequence.
"""

from __future__ import annotations

import math
from dataclasses import replace

from mquans.graph.edits import Editor
from mquans.graph.graph import Graph, Node
from mquans.graph.operators import (
    Binary,
    Concat,
    Gather,
    LayerNorm,
    Linear,
    Pad,
    Recurrence,
    Reduce,
    Reshape,
    Slice,
    Softmax,
    Transpose,
    Unary,
)


def find_sequences(editor: Editor) -> bool:
    """Afterwards every linear layer has `batch` whose input is a sequence that a recurrence of
    several steps reads or makes, as far as nodes between them leave time alone.

    Time is the first axis that is longer than 1, both in [T, B, K] and in [1, T, K].
    """
    graph = editor.graph
    found = _sequences(editor)
    changed = False
    for node in editor.visit():
        if isinstance(node.op, Linear) and node.op.batch == 0 and node.inputs[0] in found:
            shape = graph.shape(node.inputs[0])
            batch = math.prod(shape[:-1]) // shape[_time(shape)]
            editor.replace(node, replace(node.op, batch=batch), node.inputs)
            changed = True
    return changed


def _sequences(editor: Editor) -> set[str]:
    """Values whose first long axis is time."""
    graph = editor.graph
    layers = [node for node in graph.nodes if isinstance(node.op, Recurrence)]
    queue = [
        value
        for node in layers
        if graph.shape(node.inputs[0])[0] > 1
        for value in (node.inputs[0], node.outputs[0])
    ]
    found: set[str] = set()
    while queue:
        value = queue.pop()
        if value in found:
            continue
        found.add(value)
        around = [*editor.readers.get(value, ()), editor.producer(value)]
        for node in around:
            if node is not None and _leaves_time(graph, node):
                size = _steps(graph, value)
                values = [*node.inputs, node.outputs[0]]
                computed = [v for v in values if v and v not in graph.constants]
                queue += [v for v in computed if _steps(graph, v) == size]
    return found


def _time(shape: tuple[int, ...]) -> int:
    """The first axis that is longer than 1; the last one when none is."""
    return next((axis for axis, size in enumerate(shape) if size > 1), len(shape) - 1)


def _steps(graph: Graph, value: str) -> int:
    shape = graph.shape(value)
    return shape[_time(shape)] if shape else 1


def _leaves_time(graph: Graph, node: Node) -> bool:
    """True when row t of the output depends on row t of the inputs only."""
    computed = [value for value in node.inputs if value and value not in graph.constants]
    if not computed or _steps(graph, computed[0]) == 1:
        return False
    shape, result = graph.shape(computed[0]), graph.shape(node.outputs[0])
    time = _time(shape)
    match node.op:
        case Unary() | Reshape():
            return True
        case Binary():
            return all(graph.shape(value) == result for value in computed)
        case Linear():
            return time < len(shape) - 1
        case Softmax(axis) | LayerNorm(axis):
            return time < axis
        case Concat(axis) | Gather(axis):
            return time != axis
        case Slice(starts, stops, steps):
            return (starts[time], stops[time], steps[time]) == (0, shape[time], 1)
        case Pad(pads):
            return pads[time] == pads[len(shape) + time] == 0
        case Reduce(_, axes, _):
            return time not in axes
        case Transpose(perm):
            return perm[_time(result)] == time
    return False
