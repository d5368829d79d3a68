"""What a network is, with no file format in it: named values, nodes in order, constants."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from mquans.graph.operators import (
    Conv,
    ConvTranspose,
    Fallback,
    Linear,
    MatMul,
    Operator,
    Recurrence,
)

LARGEST_INTEGER = 1 << 24
"""Integers up to here, and down to its negative, are exact in float32."""


@dataclass(frozen=True, slots=True)
class ValueType:
    """Shape and dtype of a value.

    All shapes are static and all values float32, except for values that fallback subgraphs make and
    only fallback subgraphs or the caller read: these may have any numpy dtype, and -1 for sizes
    that depend on the data.
    """

    shape: tuple[int, ...]
    dtype: str = "float32"

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True, slots=True)
class Node:
    """One operator applied to named values. An absent optional input is the empty string.

    `name` is unique in the graph and stable for a given model file: it is what plans, tables and
    error messages refer to.
    """

    name: str
    op: Operator
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def is_reuse(self) -> bool:
        """True for layers with constant weights that the engine can recompute incrementally."""
        return isinstance(self.op, Conv | ConvTranspose | Linear | Recurrence)

    def reading(self, old: str, new: str) -> Node:
        """The node with one value that it reads renamed."""
        if old not in self.inputs:
            return self
        return replace(self, inputs=tuple(new if x == old else x for x in self.inputs))


@dataclass(slots=True)
class Graph:
    """A network: nodes in topological order over named values.

    Attributes:
        name: of the model, for messages.
        inputs: names of the values fed per frame, in the model's order.
        outputs: names of the values returned, in the model's order, each once.
        nodes: in topological order.
        constants: weights and other fixed arrays by value name.
        types: shape and dtype of every input, constant and node output.
        repeats: names that the model lists among its outputs again, by their place in that list.
        declared: dtype of inputs and outputs that are of another type in the model's file than in
            `types`: they are converted where frames come in and outputs go out.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: list[Node]
    constants: dict[str, npt.NDArray[np.generic]]
    types: dict[str, ValueType] = field(default_factory=dict)
    repeats: dict[int, str] = field(default_factory=dict)
    declared: dict[str, str] = field(default_factory=dict)

    def dtype(self, value: str) -> str:
        """Type of an input or output as the model's file declares it."""
        return self.declared.get(value, self.types[value].dtype)

    def shape(self, value: str) -> tuple[int, ...]:
        """Static shape of a value."""
        return self.types[value].shape

    def listed_outputs(self) -> list[str]:
        """Outputs as the model lists them, some perhaps more than once."""
        names = list(self.outputs)
        for place, name in sorted(self.repeats.items()):
            names.insert(place, name)
        return names

    def reuse_layers(self) -> Iterator[Node]:
        """The layers that a plan speaks about, in order."""
        return (node for node in self.nodes if node.is_reuse)

    def producers(self) -> dict[str, Node]:
        """Node that computes each value (inputs and constants are absent)."""
        return {output: node for node in self.nodes for output in node.outputs}

    def consumers(self) -> dict[str, list[Node]]:
        """Nodes that read each value, in order."""
        readers: dict[str, list[Node]] = {}
        for node in self.nodes:
            for value in dict.fromkeys(node.inputs):
                if value:
                    readers.setdefault(value, []).append(node)
        return readers

    def macs(self, node: Node) -> int:
        """Multiplications of one dense evaluation of a reuse layer, MatMul or fallback subgraph; 0
        for other nodes.

        Taps that fall on padding are counted, as is usual in the field.
        """
        if isinstance(node.op, Fallback):
            return node.op.macs
        if not node.is_reuse and not isinstance(node.op, MatMul):
            return 0
        out = self.types[node.outputs[0]]
        match node.op:
            case Conv():
                return out.size * int(np.prod(self.shape(node.inputs[1])[1:], dtype=np.int64))
            case ConvTranspose():
                weight = self.shape(node.inputs[1])
                taps = int(np.prod(weight[1:], dtype=np.int64))
                return self.types[node.inputs[0]].size * taps
            case Recurrence():
                steps, batch, outputs = self.shape(node.inputs[0])
                return steps * batch * outputs * self.shape(node.inputs[1])[0]
            case _:
                return out.size * self.shape(node.inputs[0])[-1]

    def neurons(self, node: Node) -> int:
        """Number of units of a reuse layer that get their own precision: the input channels of a
        convolution, the input features of a linear layer, the units of the state that a
        recurrence multiplies (for a gru that resets before the product: h, then the reset h)."""
        if isinstance(node.op, Recurrence):
            return self.shape(node.inputs[1])[0] * node.op.states
        shape = self.shape(node.inputs[0])
        return shape[-1] if isinstance(node.op, Linear) else shape[1]
