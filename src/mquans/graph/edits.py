"""Small, safe edits of a graph that rewrites are made of."""

from __future__ import annotations

import math
from collections.abc import Container, Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mquans.graph.graph import Graph, Node, ValueType
from mquans.graph.operators import Binary, Fallback, Operator
from mquans.graph.shapes import infer_node


class Editor:
    """A graph with the look-ups that rewrites need, kept up to date while it is edited.

    Node order is repaired by construction: a new node takes the place of the last node it replaces.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.reindex()

    def reindex(self) -> None:
        """Rebuild the look-ups after nodes were taken from the graph directly."""
        self.producers = self.graph.producers()
        self.readers = self.graph.consumers()

    def visit(self) -> Iterator[Node]:
        """The nodes in order; those that an edit took away in the meantime are skipped."""
        for node in list(self.graph.nodes):
            if self.producers.get(node.outputs[0]) is node:
                yield node

    def producer(self, value: str) -> Node | None:
        """The node that computes a value; None for inputs, constants and absent values."""
        return self.producers.get(value)

    def constant(self, value: str) -> npt.NDArray[np.generic] | None:
        """A constant's array; None for computed values."""
        return self.graph.constants.get(value)

    def scalar(self, value: str) -> float | None:
        """A constant that holds one number in any shape; None otherwise."""
        array = self.graph.constants.get(value)
        return float(array.reshape(-1)[0]) if array is not None and array.size == 1 else None

    def scaling(self, node: Node) -> tuple[str, float] | None:
        """(value, factor) of a node that multiplies a value by one number, or divides it by one;
        None of others, and where the factor is 0 or not finite."""
        if not isinstance(node.op, Binary) or node.op.kind not in ("mul", "div"):
            return None
        shape = self.graph.shape(node.outputs[0])
        orders = (node.inputs, node.inputs[::-1]) if node.op.kind == "mul" else (node.inputs,)
        for source, other in orders:
            number = self.scalar(other)
            if number and self.constant(source) is None and self.graph.shape(source) == shape:
                factor = number if node.op.kind == "mul" else 1 / number
                return (source, factor) if math.isfinite(factor) else None
        return None

    def is_private(self, value: str) -> bool:
        """True when exactly one node reads a value, once, and nobody outside the graph does."""
        readers = self.readers.get(value, [])
        once = len(readers) == 1 and readers[0].inputs.count(value) == 1
        return once and value not in self.graph.outputs

    def add_constant(self, name: str, array: npt.NDArray[np.generic]) -> str:
        """Store an array under a free name like the given one; returns that name."""
        name = free_name(name, self.graph.types)
        # ascontiguousarray would turn a scalar into a vector.
        array = np.array(array, np.float32, order="C")
        self.graph.constants[name] = array
        self.graph.types[name] = ValueType(tuple(array.shape), str(array.dtype))
        return name

    def replace(
        self,
        last: Node,
        op: Operator,
        inputs: tuple[str, ...],
        *,
        name: str | None = None,
        absorbed: Node | None = None,
    ) -> Node:
        """Put a new node in the place of `last`; it computes the same value.

        Args:
            last: node whose (only) output the new node takes over.
            op, inputs: of the new node.
            name: of the new node; by default the name of the node it replaces.
            absorbed: a node before `last` whose work the new node does as well; it goes.
        """
        node = Node(name or last.name, op, inputs, last.outputs)
        for gone in (last, absorbed):
            if gone is not None:
                self._detach(gone)
        nodes = self.graph.nodes
        nodes[_index(nodes, last)] = node
        if absorbed is not None:
            del nodes[_index(nodes, absorbed)]
        self._attach(node)
        shapes = infer_node(node, [self.graph.types[value].shape for value in inputs if value])
        self.graph.types.update(zip(node.outputs, map(ValueType, shapes), strict=True))
        return node

    def insert(self, before: Node, op: Operator, inputs: tuple[str, ...], name: str) -> Node:
        """Put a node that computes a new value, of a free name like the given one, in front of
        another."""
        output = free_name(name, self.graph.types)
        node = Node(output, op, inputs, (output,))
        self.graph.nodes.insert(_index(self.graph.nodes, before), node)
        self._attach(node)
        shapes = infer_node(node, [self.graph.types[value].shape for value in inputs if value])
        self.graph.types[output] = ValueType(shapes[0])
        return node

    def alias(self, node: Node) -> bool:
        """Remove a node whose output equals its first input, if names at the border allow it.

        Returns:
            False when the output is a graph output and the input cannot be renamed to it, since
            both names are visible from outside.
        """
        source, output = node.inputs[0], node.outputs[0]
        graph = self.graph
        if output in graph.outputs:
            producer = self.producers.get(source)
            if producer is None or source in graph.outputs or isinstance(producer.op, Fallback):
                return False
            self._detach(node)
            del graph.nodes[_index(graph.nodes, node)]
            outputs = tuple(output if value == source else value for value in producer.outputs)
            self._swap(producer, replace(producer, outputs=outputs))
            self._redirect(source, output)
        else:
            self._detach(node)
            del graph.nodes[_index(graph.nodes, node)]
            self._redirect(output, source)
        return True

    def _redirect(self, old: str, new: str) -> None:
        for reader in list(self.readers.get(old, ())):
            inputs = tuple(new if value == old else value for value in reader.inputs)
            self._swap(reader, replace(reader, inputs=inputs))

    def _swap(self, old: Node, new: Node) -> None:
        self._detach(old)
        self.graph.nodes[_index(self.graph.nodes, old)] = new
        self._attach(new)

    def _detach(self, node: Node) -> None:
        for value in set(node.inputs):
            self.readers[value] = [r for r in self.readers.get(value, ()) if r is not node]
        for value in node.outputs:
            self.producers.pop(value, None)

    def _attach(self, node: Node) -> None:
        for value in dict.fromkeys(node.inputs):
            self.readers.setdefault(value, []).append(node)
        for value in node.outputs:
            self.producers[value] = node


def free_name(name: str, taken: Container[str]) -> str:
    """The name itself, or with a number behind it when it is taken."""
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name}:{number}"
    return candidate


def _index(nodes: list[Node], node: Node) -> int:
    return next(i for i, candidate in enumerate(nodes) if candidate is node)
