"""Functions of one value that follow each other: one step, whose values stay in the cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mquans import _native
from mquans.graph import Binary, Graph, Node, Unary
from mquans.runtime.lowering.operators import BINARY_KINDS, activation_code, add_scaled_codes
from mquans.runtime.lowering.sites.analysis import Analysis

if TYPE_CHECKING:
    from mquans.runtime.lowering.program import Lowering

ALONE, NUMBER_BEHIND, NUMBER_IN_FRONT = range(3)
"""The native enumeration follows this order."""


@dataclass(frozen=True, slots=True)
class Chain:
    """Nodes each of which is a function of what the one before makes, alone or with a number."""

    nodes: tuple[Node, ...]

    @property
    def skipped(self) -> tuple[str, ...]:
        """Values that are not made."""
        return tuple(node.outputs[0] for node in self.nodes[:-1])


def chains_of(graph: Graph, analysis: Analysis) -> dict[str, Chain]:
    """Chains in floats, by the value that they make."""
    readers = graph.consumers()
    elsewhere = analysis.integer_nodes | analysis.idle
    kept = {source for step in analysis.steps.values() for source in step.sources}
    kept |= analysis.codings.keys() | set(graph.outputs)
    found: dict[str, Chain] = {}
    for node in graph.nodes:
        if node.name in elsewhere or (source := _source(graph, node)) is None:
            continue
        alone = source not in kept and len(readers[source]) == 1
        before = found.pop(source).nodes if alone and source in found else ()
        found[node.outputs[0]] = Chain((*before, node))
    return found


def _source(graph: Graph, node: Node) -> str | None:
    """The only value that a node computes from; None where it is no link of a chain."""
    match node.op:
        case Unary():
            return node.inputs[0]
        case Binary():
            numbers = [_is_number(graph, value) for value in node.inputs]
            value = node.inputs[numbers.index(False)] if sum(numbers) == 1 else None
            if value and value not in graph.constants:
                same = graph.shape(value) == graph.shape(node.outputs[0])
                return value if same else None
    return None


def _is_number(graph: Graph, value: str) -> bool:
    return value in graph.constants and graph.constants[value].size == 1


def add_chain(low: Lowering, chain: Chain) -> None:
    """Adds the step of a chain and places what it makes."""
    nodes, last = chain.nodes, chain.nodes[-1]
    if add_scaled_codes(low, nodes[0]):
        nodes = nodes[1:]
        if not nodes:
            return
    source = _source(low.graph, nodes[0])
    assert source is not None
    x = low.in_order(source, low.order_of(source))
    y = low.new(last.outputs[0], x.order)
    links = [_link(low.graph, node) for node in nodes]
    _native.add_chain(low.program, last.name, x.tensor, y.tensor, links)


def _link(graph: Graph, node: Node) -> tuple[int, int, float, float]:
    match node.op:
        case Unary():
            return ALONE, *activation_code(node.op)
        case Binary(kind):
            form = NUMBER_IN_FRONT if _is_number(graph, node.inputs[0]) else NUMBER_BEHIND
            number = graph.constants[node.inputs[0 if form == NUMBER_IN_FRONT else 1]]
            return form, BINARY_KINDS.index(kind), float(number.reshape(())), 0.0
    raise AssertionError(node.op)
