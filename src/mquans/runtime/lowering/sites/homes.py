"""Values that lie among the channels of another one: parts of concatenations, and slices."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from mquans.graph import Concat, Gather, Graph, Node, Slice


@dataclass(frozen=True, slots=True)
class Home:
    """Where a value lies: from a channel of another value on."""

    base: str
    first: int


def homes_of(
    graph: Graph, axes: dict[str, int], integer_nodes: Collection[str], inputs: Collection[str]
) -> dict[str, Home]:
    """Homes of all values that have one; a base may itself have a home.

    A slice lies in what it is taken of. What computes a part of a concatenation writes it in place,
    unless the part lies elsewhere already or is an input of the network.

    Args:
        axes: channel axis of every value in codes.
        integer_nodes: names of the nodes that are computed on codes.
        inputs: of the network, and what pictures become that it turns itself.
    """
    homes: dict[str, Home] = {}
    nodes = [node for node in graph.nodes if node.name in integer_nodes]
    for node in nodes:
        first = sliced_from(graph, node, axes[node.outputs[0]])
        if first is not None:
            homes[node.outputs[0]] = Home(node.inputs[0], first)
    for node in nodes:
        if isinstance(node.op, Concat):
            _settle_parts(graph, node, node.op.axis, homes, inputs)
    return homes


def root_of(homes: dict[str, Home], value: str) -> tuple[str, int]:
    """(value whose tensor holds a value, its first channel there)."""
    first = 0
    while value in homes:
        home = homes[value]
        value, first = home.base, first + home.first
    return value, first


def sliced_from(graph: Graph, node: Node, axis: int) -> int | None:
    """First of the consecutive channels that a node takes of its input at all sites, or None."""
    shape, result = graph.shape(node.inputs[0]), graph.shape(node.outputs[0])
    match node.op:
        case Slice(starts=starts, steps=steps):
            whole = all(
                start == 0 and step == 1 and shape[at] == result[at]
                for at, (start, step) in enumerate(zip(starts, steps, strict=True))
                if at != axis
            )
            return starts[axis] if whole and steps[axis] == 1 else None
        case Gather(axis=taken, indices=indices):
            first = indices[0]
            consecutive = indices == tuple(range(first, first + len(indices)))
            return first if taken == axis and consecutive else None
        case _:
            return None


def _settle_parts(
    graph: Graph, node: Node, axis: int, homes: dict[str, Home], inputs: Collection[str]
) -> None:
    joined, first = node.outputs[0], 0
    for at, value in enumerate(node.inputs):
        if value not in homes:
            whole = value
        else:
            # Slices that follow each other as in what they are taken of: that lies here as a whole.
            whole = homes[value].base
            if not _follow(graph, node.inputs[at:], whole, axis, homes):
                whole = ""
        if whole and whole not in homes and whole not in inputs:
            homes[whole] = Home(joined, first)
        first += graph.shape(value)[axis]


def _follow(
    graph: Graph, values: tuple[str, ...], whole: str, axis: int, homes: dict[str, Home]
) -> bool:
    size, done = graph.shape(whole)[axis], 0
    for value in values:
        if homes.get(value) != Home(whole, done):
            return False
        done += graph.shape(value)[axis]
        if done == size:
            return True
    return False
