"""What is done to graph inputs before codes are made of them: turned, scaled, shifted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np
import numpy.typing as npt

from mquans.graph import Binary, Graph, Node, Reshape, Transpose
from mquans.runtime.lowering import layout
from mquans.runtime.lowering.layout import Dims
from mquans.runtime.lowering.sites.forms import channel_constant

MOST_CHANNELS = 4
"""Of pictures."""

Numbers = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A value that is made of a graph input alone, which nothing else reads.

    Attributes:
        source: the input.
        axes: of the input, in the order of the value's.
        factor, offset: [channels] the value is `input * factor + offset`, rounded to float32 after
            each; None where nothing is multiplied with, or added.
        nodes: names of those that make it.
        before: the values that it is made of, step by step.
    """

    source: str
    axes: Dims
    factor: Numbers | None = None
    offset: Numbers | None = None
    nodes: tuple[str, ...] = ()
    before: tuple[str, ...] = ()

    @property
    def is_normalised(self) -> bool:
        """Scaled or shifted."""
        return self.factor is not None or self.offset is not None


def find_prepared(graph: Graph) -> dict[str, Prepared]:
    """Every value that is an input turned, of pictures then scaled, then shifted, as
    `normalise_inputs` leaves them. Which values are outputs does not count."""
    found = {
        value: Prepared(value, layout.identity(len(graph.shape(value)))) for value in graph.inputs
    }
    readers = graph.consumers()
    for node in graph.nodes:
        value = node.inputs[0] if node.inputs else ""
        if value not in found or len(readers[value]) > 1:
            continue
        result = _then(graph, found[value], node)
        if result is not None:
            nodes, before = (*found[value].nodes, node.name), (*found[value].before, value)
            found[node.outputs[0]] = replace(result, nodes=nodes, before=before)
    return found


def _then(graph: Graph, before: Prepared, node: Node) -> Prepared | None:
    if axes := turned_axes(graph, node):
        return replace(before, axes=axes) if not before.nodes else None
    shape = graph.shape(node.outputs[0])
    if not isinstance(node.op, Binary) or node.inputs[1] not in graph.constants:
        return None
    if graph.shape(node.inputs[0]) != shape or before.offset is not None:
        return None
    order = layout.channels_last(len(shape))
    numbers = channel_constant(graph, node.inputs[1], order, shape[order[-1]])
    if numbers is None or not lies_as_picture(graph.shape(before.source), before.axes, order):
        return None
    match node.op.kind:
        case "mul" if before.factor is None:
            return replace(before, factor=numbers.astype(np.float32))
        case "add":
            return replace(before, offset=numbers.astype(np.float32))
        case _:
            return None


def turned_axes(graph: Graph, node: Node) -> Dims | None:
    """Axes of what a node reads, in the order of its result, where it does nothing but turn them:
    a transposition, or a reshape that moves axes of size 1."""
    if isinstance(node.op, Transpose):
        return node.op.perm
    if not isinstance(node.op, Reshape):
        return None
    shape, made = graph.shape(node.inputs[0]), graph.shape(node.outputs[0])
    wide, ones = (
        [axis for axis, n in enumerate(shape) if (n == 1) == one] for one in (False, True)
    )
    if len(shape) != len(made) or [n for n in made if n != 1] != [shape[axis] for axis in wide]:
        return None
    return tuple((ones if n == 1 else wide).pop(0) for n in made)


def lies_as_picture(given: Dims, axes: Dims, order: Dims) -> bool:
    """Whether a graph input is a picture of few channels, as planes or with its channels side by
    side, in which blocks of pixels lie in one picture.

    Args:
        given: shape of the input.
        axes: of the input, in the order of those of what is made of it.
        order: in which the axes of that lie as codes.
    """
    if len(given) != 4 or order != layout.channels_last(4):
        return False
    read = tuple(axes[axis] for axis in order)
    count, height, _, channels = layout.apply(read, given)
    x_step, c_step = (prod(given[axis + 1 :]) for axis in read[-2:])
    return (
        (x_step == 1 or (x_step == channels and c_step == 1))
        and channels <= MOST_CHANNELS
        and (count == 1 or height % 2 == 0)
    )
