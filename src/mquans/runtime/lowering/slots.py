"""Concatenations that nobody has to copy: their parts are written in place."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from mquans.graph import (
    Binary,
    Concat,
    Conv,
    ConvTranspose,
    Graph,
    Pool,
    Resize,
    Softmax,
    Unary,
)
from mquans.runtime.lowering.operators import is_only_gathered


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a part lies in the concatenation `joined` along an axis."""

    joined: str
    axis: int
    first: int


def slots_of(graph: Graph, integer_nodes: Collection[str] = ()) -> dict[str, Slot]:
    """Parts of concatenations whose steps can write among others' channels.

    Args:
        integer_nodes: names of nodes that are not computed in floats.
    """
    writers = Conv | ConvTranspose | Pool | Resize | Binary | Unary | Softmax | Concat
    written = {
        value for node in graph.nodes if isinstance(node.op, writers) for value in node.outputs
    }
    slots: dict[str, Slot] = {}
    for node in graph.nodes:
        joined = node.outputs[0]
        if node.name in integer_nodes or not isinstance(node.op, Concat):
            continue
        if is_only_gathered(graph, joined, node.op.axis):
            continue
        first = 0
        for value in node.inputs:
            if value in written and node.inputs.count(value) == 1:
                slots.setdefault(value, Slot(joined, node.op.axis, first))
            first += graph.shape(value)[node.op.axis]
    return slots
