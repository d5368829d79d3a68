"""Concatenations that nobody has to copy: their parts are written in place."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from mquans.graph import (
    Binary,
    Concat,
    Conv,
    ConvTranspose,
    Graph,
    Node,
    Pool,
    Reshape,
    Resize,
    Softmax,
    Unary,
)
from mquans.runtime.lowering.operators import is_only_gathered


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a part lies in the concatenation `joined` along an axis.

    Attributes:
        part: what the concatenation reads; the value that lies there may be one of another shape.
    """

    joined: str
    axis: int
    first: int
    part: str


def slots_of(graph: Graph, integer_nodes: Collection[str] = ()) -> dict[str, Slot]:
    """Parts of concatenations whose steps can write among those of others.

    Args:
        integer_nodes: names of nodes that are not computed in floats.
    """
    writers = Conv | ConvTranspose | Pool | Resize | Binary | Unary | Softmax | Concat
    written = {
        value for node in graph.nodes if isinstance(node.op, writers) for value in node.outputs
    }
    producers = graph.producers()
    slots: dict[str, Slot] = {}
    for node in graph.nodes:
        joined = node.outputs[0]
        if node.name in integer_nodes or not isinstance(node.op, Concat):
            continue
        if is_only_gathered(graph, joined, node.op.axis, integer_nodes):
            continue
        first = 0
        for part in node.inputs:
            value = _reshaped(producers, part)
            if value in written and node.inputs.count(part) == 1:
                slots.setdefault(value, Slot(joined, node.op.axis, first, part))
            first += graph.shape(part)[node.op.axis]
    return slots


def _reshaped(producers: Mapping[str, Node], value: str) -> str:
    """The value of which another one is nothing but a reshape."""
    while (node := producers.get(value)) is not None and isinstance(node.op, Reshape):
        value = node.inputs[0]
    return value
