"""What one step makes between quantizations of a quantized network.

Between the codes that a quantization reads and those that it makes lie scalings, functions, and a
sum or product. A function of a single code of 8 bits is a table of at most 256 entries, however
many nodes it is written in (a SiLU is five); sums and products of two scaled values are rounded
once, to the steps of their result; and what comes in floats is quantized where it is encoded.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import numpy as np

from mquans.graph import (
    Binary,
    Editor,
    Fallback,
    Graph,
    LayerNorm,
    MatMul,
    Node,
    Recurrence,
    Reshape,
    Softmax,
    Transpose,
    Unary,
    bounds_of,
)
from mquans.runtime.lowering.sites.arithmetic import Ints, Reals
from mquans.runtime.reference.functions import BINARY, unary

FLOATS = Fallback | LayerNorm | MatMul | Recurrence | Reshape | Softmax | Transpose
"""What is always computed in floats, or lies otherwise in codes."""

ENTRIES = 256
"""Of a table, at most."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """A function of the codes of one value.

    Attributes:
        source: the value.
        first: its least code.
        results: [codes] for it and those that follow.
    """

    source: str
    first: int
    results: Ints

    @property
    def sources(self) -> tuple[str, ...]:
        """What is read."""
        return (self.source,)


@dataclass(frozen=True, slots=True)
class Blend:
    """`a * a_factor + b * b_factor` of two values, or `a * b * a_factor`, in the result's steps."""

    a: str
    b: str
    a_factor: float
    b_factor: float = 0.0
    product: bool = False

    @property
    def sources(self) -> tuple[str, ...]:
        """What is read."""
        return self.a, self.b


@dataclass(frozen=True, slots=True)
class Encoded:
    """`source * factor` of a value in floats."""

    source: str
    factor: float

    @property
    def sources(self) -> tuple[str, ...]:
        """What is read."""
        return (self.source,)


WholeStep = Lookup | Blend | Encoded


def find_whole_steps(graph: Graph, in_floats: Collection[str] = ()) -> dict[str, WholeStep]:
    """The quantizations that are one step, by the value that they make.

    Args:
        in_floats: names of nodes that are computed in floats, whatever they are.
    """
    finder = _Finder(Editor(graph), in_floats)
    found = ((node.outputs[0], finder.visit(node)) for node in graph.nodes)
    return {value: step for value, step in found if step is not None}


@dataclass(slots=True)
class _Finder:
    """Follows scalings and functions from node to node."""

    editor: Editor
    in_floats: Collection[str]
    # What a value is a function of, and its results for all codes of that.
    functions: dict[str, tuple[str, Reals]] = field(default_factory=dict)
    # (source, factor) of scaled values.
    scaled: dict[str, tuple[str, float]] = field(default_factory=dict)

    def visit(self, node: Node) -> WholeStep | None:
        """The one step that makes a node's value, where it is a quantization that has one."""
        value = node.outputs[0]
        step = None
        if isinstance(node.op, Unary) and node.op.kind == "quantize":
            step = self._step(node, *node.op.params)
        elif (scaling := self.editor.scaling(node)) is not None:
            source, factor = self.scaled.get(scaling[0], (scaling[0], 1.0))
            self.scaled[value] = source, factor * scaling[1]
        if (function := self._function(node)) is not None:
            self.functions[value] = function
        elif (bounds := bounds_of(self.editor.producers, value)) is not None:
            codes = np.arange(bounds[0], bounds[1] + 1)
            if len(codes) <= ENTRIES:
                self.functions[value] = value, codes
        return step

    def _function(self, node: Node) -> tuple[str, Reals] | None:
        if not isinstance(node.op, Unary | Binary):
            return None
        shape = self.editor.graph.shape(node.outputs[0])
        root, operands = "", list[Reals | float]()
        for value in node.inputs:
            number = self.editor.scalar(value)
            if number is not None:
                operands.append(number)
                continue
            if value not in self.functions or self.editor.graph.shape(value) != shape:
                return None
            source, results = self.functions[value]
            if root not in ("", source):
                return None
            root = source
            operands.append(results)
        if not root:
            return None
        with np.errstate(all="ignore"):
            if isinstance(node.op, Unary):
                results = unary(node.op, np.asarray(operands[0]))
            else:
                results = np.asarray(BINARY[node.op.kind](*map(np.asarray, operands)))
        return (root, results) if np.isfinite(results).all() else None

    def _step(self, node: Node, low: float, high: float) -> WholeStep | None:
        function = self._function(node)
        if function is not None:
            root, results = function
            if results.max() - results.min() >= ENTRIES:
                return None
            first = int(self.functions[root][1][0])
            return Lookup(root, first, results.astype(np.int64))
        source, factor = self.scaled.get(node.inputs[0], (node.inputs[0], 1.0))
        made = self.editor.producer(source)
        if made is None or made.name in self.in_floats or isinstance(made.op, FLOATS):
            return Encoded(source, factor)
        operands = list(self._operands(made))
        if not isinstance(made.op, Binary) or len(operands) < 2:
            return None
        (a, a_factor), (b, b_factor) = operands
        match made.op.kind:
            case "mul":
                return Blend(a, b, factor * a_factor * b_factor, product=True)
            case "add":
                return Blend(a, b, factor * a_factor, factor * b_factor)
            case "sub":
                return Blend(a, b, factor * a_factor, -factor * b_factor)
            case _:
                return None

    def _operands(self, node: Node) -> Iterator[tuple[str, float]]:
        """(whole steps, factor) of those operands that are some, scaled."""
        for value in node.inputs:
            source, factor = self.scaled.get(value, (value, 1.0))
            if bounds_of(self.editor.producers, source) is not None:
                yield source, factor


def places_of(step: Blend, a_limit: int, b_limit: int) -> int:
    """Binary places that factors have room for in sums of 32 bits, whatever the codes."""
    largest = abs(step.a_factor) * a_limit
    largest = largest * b_limit if step.product else largest + abs(step.b_factor) * b_limit
    count = a_limit * b_limit if step.product else a_limit + b_limit
    # Rounding a factor adds up to a half for every code, and rounding the sum a half of its place.
    room = (2.0**31 - 1 - count) / (largest + 0.5)
    return int(np.clip(np.floor(np.log2(max(room, 1.0))), 0, 30))
