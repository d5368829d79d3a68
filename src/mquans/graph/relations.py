"""Values of which relations count, where codes hold differences.

A logarithm, a quotient or a negative power sees how many times smaller one number is than another.
Codes have steps of one size: of a sigmoid they leave nothing below 2**-15, and of the reciprocal of
a norm, which is largest where a picture is black, nothing of all other sites.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

import numpy as np

from mquans.graph.graph import Graph, Node
from mquans.graph.operators import (
    Array,
    Binary,
    Concat,
    Expand,
    Gather,
    Pad,
    Reduce,
    Reshape,
    Slice,
    Transpose,
    Unary,
)

MOVES = Concat | Expand | Gather | Pad | Reshape | Slice | Transpose

BOUNDED = frozenset({"sigmoid", "tanh", "hard_sigmoid"})
"""Functions whose results have codes of one step, whatever a network makes of them."""

PASSED = frozenset({"abs", "clip", "neg", "relu", "sqrt"})
"""Functions behind which what is small is small."""


def functions_before_quotients(graph: Graph) -> set[str]:
    """Names of bounded functions whose results, maybe moved, scaled, shifted or clipped, are read
    by a logarithm, as a divisor or by a negative power."""
    producers = graph.producers()
    found: set[str] = set()
    seen: set[str] = set()
    values = [value for node in graph.nodes for value in _read_by_relation(graph, node)]
    while values:
        value = values.pop()
        node = producers.get(value)
        if node is None or value in seen:
            continue
        seen.add(value)
        match node.op:
            case Unary(kind=kind) if kind in BOUNDED:
                found.add(node.name)
            case Unary(kind=kind) if kind in PASSED:
                values.append(node.inputs[0])
            case Binary(kind="add" | "sub" | "mul" | "div" | "max" | "min" | "pow") | Reduce():
                values += node.inputs
            case Concat() | Expand() | Gather() | Pad() | Reshape() | Slice() | Transpose():
                values += node.inputs
    return found


def products_with_quotients(graph: Graph) -> set[str]:
    """Names of products of computed values of which one is a quotient, or a constant times one,
    that is another number at every site."""
    quotients: set[str] = set()
    products: set[str] = set()
    for node in graph.nodes:
        value = node.outputs[0]
        if any(_read_by_relation(graph, node)) and node.op != Unary("log"):
            if prod(graph.shape(value)[2:]) > 1:
                quotients.add(value)
        elif quotients.isdisjoint(node.inputs):
            continue
        elif _hands_on(graph, node):
            quotients.add(value)
        elif node.op == Binary("mul"):
            products.add(node.name)
    return products


def _hands_on(graph: Graph, node: Node) -> bool:
    """Whether a node moves, scales or shifts what it reads, or takes its root."""
    match node.op:
        case Unary(kind=kind):
            return kind in PASSED
        case Binary():
            return any(value in graph.constants for value in node.inputs)
        case _:
            return isinstance(node.op, MOVES)


def _read_by_relation(graph: Graph, node: Node) -> Iterator[str]:
    """The computed operand of which a node sees relations."""
    operand = ""
    match node.op:
        case Unary(kind="log" | "reciprocal"):
            operand = node.inputs[0]
        case Binary(kind="div"):
            operand = node.inputs[1]
        case Binary(kind="pow") if not _is_positive(graph.constants.get(node.inputs[1])):
            operand = node.inputs[0]
    if operand and operand not in graph.constants:
        yield operand


def _is_positive(exponent: Array | None) -> bool:
    return exponent is not None and bool(np.greater_equal(exponent, 0).all())
