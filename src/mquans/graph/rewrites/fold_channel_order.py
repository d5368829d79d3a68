"""Fold another order of the channels into the weights of the layer that reads them.

Networks that were trained on BGR turn pictures from cameras first; shuffles go the same way.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mquans.graph.edits import Editor
from mquans.graph.graph import Node
from mquans.graph.operators import Binary, Conv, Gather, Pad, Pool, Resize, Slice, Unary

Order = npt.NDArray[np.int64]


def fold_channel_order(editor: Editor) -> bool:
    """Afterwards no convolution of all channels reads, alone, channels that were put in another
    order, be it through what treats channels alike or has a number for each."""
    changed = False
    for node in editor.visit():
        order = _channel_order(editor, node)
        if order is None:
            continue
        chain = _up_to_a_layer(editor, node)
        if chain:
            places = np.argsort(order)
            for reader in chain:
                _reorder(editor, reader, places)
            editor.alias(node)
            changed = True
    return changed


def _channel_order(editor: Editor, node: Node) -> Order | None:
    """Which channel comes at each place; None where some are left out, or more is done."""
    if not isinstance(node.op, Gather | Slice):
        return None
    shape = editor.graph.shape(node.inputs[0])
    if len(shape) < 3 or editor.graph.shape(node.outputs[0]) != shape:
        return None
    match node.op:
        case Gather(axis=1, indices=indices):
            order = np.asarray(indices, np.int64)
        case Slice(steps=steps) if steps[1] == -1 and set(steps[:1] + steps[2:]) == {1}:
            order = np.arange(shape[1])[::-1]
        case _:
            return None
    return order if sorted(order) == list(range(shape[1])) else None


def _up_to_a_layer(editor: Editor, node: Node) -> list[Node]:
    """What reads channels in their new order, each node alone, up to a convolution of all of them;
    nothing where there is none."""
    chain: list[Node] = []
    value = node.outputs[0]
    while editor.is_private(value):
        (reader,) = editor.readers[value]
        chain.append(reader)
        channels = editor.graph.shape(value)[1]
        match reader.op:
            case Conv(groups=1):
                return chain if reader.inputs[0] == value else []
            case Conv(groups=groups) if (
                groups == channels == len(editor.graph.constants[reader.inputs[1]])
            ):
                pass
            case Unary() | Pool():
                pass
            case Resize(sizes=sizes, scales=scales) if sizes[1] == channels and scales[1] == 1:
                pass
            case Pad(pads=pads) if not pads[1] and not pads[1 + len(pads) // 2]:
                pass
            case Binary() if _has_constant(editor, reader, value):
                pass
            case _:
                return []
        value = reader.outputs[0]
    return []


def _has_constant(editor: Editor, node: Node, value: str) -> bool:
    shape = editor.graph.shape(value)
    others = [name for name in node.inputs if name != value]
    constants = [name for name in others if editor.constant(name) is not None]
    return len(constants) == len(others) == 1 and editor.graph.shape(node.outputs[0]) == shape


def _reorder(editor: Editor, node: Node, places: Order) -> None:
    """Gives a node the numbers of its channels in the order in which these lie.

    Args:
        places: of every channel in the new order.
    """
    constants = editor.graph.constants
    inputs = list(node.inputs)
    rank = len(editor.graph.shape(node.outputs[0]))
    for i, name in enumerate(node.inputs):
        if name not in constants:
            continue
        array = constants[name]
        if isinstance(node.op, Conv):
            axis = 1 if node.op.groups == 1 else 0
            if axis == 1 and i > 1:
                continue  # outputs stay where they are
        else:
            axis = array.ndim - rank + 1
            if axis < 0 or array.shape[axis] == 1:
                continue
        inputs[i] = editor.add_constant(name, np.take(array, places, axis=axis))
    if tuple(inputs) != node.inputs:
        editor.replace(node, node.op, tuple(inputs))
