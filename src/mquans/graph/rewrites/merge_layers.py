"""Compute layers of few outputs that read the same value together.

Detectors end in a layer for each of boxes, scores and landmarks, of one to ten outputs; kernels
compute eight or sixteen outputs at once, whether there are so many or not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from mquans.graph.edits import Editor
from mquans.graph.graph import Node
from mquans.graph.operators import Binary, Conv, Slice

BLOCK = 16
"""Outputs that kernels compute at once."""


def merge_layers(editor: Editor) -> bool:
    """Afterwards no two convolutions of one geometry and activation, whose outputs would fit into
    fewer blocks together, read the same value; nor do depthwise ones that read all of the slices
    that another value is cut into."""
    changed = False
    for value in [*editor.graph.inputs, *editor.producers]:
        for nodes in _alike(editor, editor.readers.get(value, ())):
            few = [node for node in nodes if _whole(node) and _outputs(editor, node) % BLOCK]
            widths = [_outputs(editor, node) for node in few]
            if len(few) > 1 and _computed(sum(widths)) < sum(map(_computed, widths)):
                _merge(editor, few, value, 1)
                changed = True
        for nodes in _alike(editor, _behind_slices(editor, value)):
            channels = editor.graph.shape(value)[1]
            if len(nodes) > 1 and sum(_outputs(editor, node) for node in nodes) == channels:
                _merge(editor, nodes, value, channels)
                changed = True
    return changed


def _alike(editor: Editor, nodes: Sequence[Node]) -> Iterator[list[Node]]:
    """Convolutions that differ in nothing but their weights: undivided ones of a value, or
    depthwise ones of slices of it."""
    groups: dict[object, list[Node]] = {}
    for node in nodes:
        if not isinstance(node.op, Conv):
            continue
        depthwise = _is_depthwise(editor, node)
        if depthwise or node.op.groups == 1:
            groups.setdefault((depthwise, replace(node.op, groups=1)), []).append(node)
    yield from groups.values()


def _behind_slices(editor: Editor, value: str) -> list[Node]:
    """Depthwise convolutions that alone read slices of channels of a value, each of which begins
    where the one before ends."""
    found: dict[int, Node] = {}
    for node in editor.readers.get(value, ()):
        shape, taken = editor.graph.shape(value), editor.graph.shape(node.outputs[0])
        if not isinstance(node.op, Slice) or len(shape) < 3 or {*node.op.steps} != {1}:
            continue
        if (shape[0], *shape[2:]) != (taken[0], *taken[2:]) or not editor.is_private(
            node.outputs[0]
        ):
            continue
        (reader,) = editor.readers[node.outputs[0]]
        if isinstance(reader.op, Conv) and _is_depthwise(editor, reader):
            found[node.op.starts[1]] = reader
    nodes, end = list[Node](), 0
    while end in found:
        nodes.append(found[end])
        end += _outputs(editor, found[end])
    return nodes


def _whole(node: Node) -> bool:
    """Every output reads all inputs."""
    return isinstance(node.op, Conv) and node.op.groups == 1


def _is_depthwise(editor: Editor, node: Node) -> bool:
    """One input per output, or an only channel."""
    assert isinstance(node.op, Conv)
    weight = editor.graph.shape(node.inputs[1])
    return weight[1] == 1 and node.op.groups == weight[0]


def _outputs(editor: Editor, node: Node) -> int:
    return editor.graph.shape(node.outputs[0])[1]


def _computed(outputs: int) -> int:
    """Outputs that kernels compute for so many."""
    return BLOCK // 2 if outputs <= BLOCK // 2 else -(-outputs // BLOCK) * BLOCK


def _merge(editor: Editor, nodes: Sequence[Node], value: str, groups: int) -> None:
    """One layer in the place of the first, and slices of its result in the places of all."""
    first, name = nodes[0], "+".join(node.name for node in nodes)
    assert isinstance(first.op, Conv)
    constants = editor.graph.constants
    weight = np.concatenate([constants[node.inputs[1]] for node in nodes])
    biases = [
        constants[node.inputs[2]].reshape(-1)
        if len(node.inputs) > 2 and node.inputs[2]
        else np.zeros(_outputs(editor, node))
        for node in nodes
    ]
    given = (
        value,
        editor.add_constant(f"{name}/weight", weight),
        editor.add_constant(f"{name}/bias", np.concatenate(biases)),
    )
    merged = editor.insert(first, replace(first.op, groups=groups), given, name)
    whole = editor.graph.shape(merged.outputs[0])
    made, last = merged.outputs, list[tuple[Node, Node | None]]((node, None) for node in nodes)
    scalings = [found for node in nodes if (found := _scaling_behind(editor, node))]
    if len(scalings) == len(nodes):
        # Numbers of the channels instead of one number per part.
        numbers = np.repeat([factor for _, factor in scalings], [len(bias) for bias in biases])
        column = numbers.reshape(-1, *[1] * (len(whole) - 2))
        factors = editor.add_constant(f"{name}/scales", column)
        made = editor.insert(first, Binary("mul"), (*made, factors), f"{name}/scaled").outputs
        last = [(scaling, node) for (scaling, _), node in zip(scalings, nodes, strict=True)]
    start = 0
    for (node, absorbed), bias in zip(last, biases, strict=True):
        stop = start + len(bias)
        ends = (whole[0], stop, *whole[2:])
        starts = (0, start, *[0] * (len(whole) - 2))
        part = Slice(starts, ends, (1,) * len(whole))
        editor.replace(node, part, made, absorbed=absorbed)
        start = stop


def _scaling_behind(editor: Editor, node: Node) -> tuple[Node, float] | None:
    """The product with one number that alone reads a layer, and the number, if nothing in the graph
    reads that: between quantized layers scalings are parts of what steps are made of."""
    if not editor.is_private(node.outputs[0]):
        return None
    (reader,) = editor.readers[node.outputs[0]]
    found = editor.scaling(reader)
    is_product = isinstance(reader.op, Binary) and reader.op.kind == "mul"
    if not found or not is_product or editor.readers.get(reader.outputs[0]):
        return None
    return reader, found[1]
