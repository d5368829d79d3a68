"""Writing a Recurrence, with the Linear before it, as an ONNX LSTM, GRU or RNN."""

from __future__ import annotations

from collections.abc import Container
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mquans.graph import Graph, Linear, Node, Recurrence, Unary, ValueType

if TYPE_CHECKING:
    from mquans.onnx.node_writer import NodeWriter

ACTIVATIONS = {
    "relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid", "softsign": "Softsign",
    "softplus": "Softplus", "elu": "Elu", "leaky_relu": "LeakyRelu", "hard_sigmoid": "HardSigmoid",
}  # fmt: skip


def state_value(node: Node) -> str:
    """Name of the value that holds what the product of a Recurrence reads, in written models.

    Its shape is [T, B, states * H]: row t is h before step t (in the order of the input product,
    also when time runs backwards); for a gru that resets before the product, h and then r * h.
    """
    return f"{node.name}/states"


def state_type(graph: Graph, node: Node) -> ValueType:
    """Type of `state_value`."""
    assert isinstance(node.op, Recurrence)
    steps, batch, hidden = graph.shape(node.outputs[0])
    return ValueType((steps, batch, node.op.states * hidden))


def absorbed_products(graph: Graph, kept: Container[str]) -> dict[str, Node]:
    """Input products that a recurrence alone reads, by value: they are written with it.

    Args:
        kept: values that are wanted themselves.
    """
    readers = graph.consumers()
    found = {}
    for node in graph.nodes:
        if isinstance(node.op, Linear) and node.op.activation is None:
            (value,) = node.outputs
            behind = readers.get(value, [])
            alone = len(behind) == 1 and isinstance(behind[0].op, Recurrence)
            rank = len(graph.shape(node.inputs[0]))
            if alone and rank == 3 and value not in kept and value == behind[0].inputs[0]:
                found[value] = node
    return found


class RecurrenceWriter:
    """Writes one Recurrence.

    Args:
        writer: takes the nodes.
        product: the input product if it is to be written with it; else the layer multiplies by the
            identity, which is exact.
    """

    def __init__(self, writer: NodeWriter, graph: Graph, node: Node, product: Node | None) -> None:
        assert isinstance(node.op, Recurrence)
        self._writer, self._graph, self._node, self._op = writer, graph, node, node.op
        self._product = product
        self._operands = [*node.inputs, *[""] * (6 - len(node.inputs))]
        self._steps, self._batch, self._hidden = graph.shape(node.outputs[0])
        self._columns = graph.shape(node.inputs[0])[2]

    def write(self) -> None:
        """The layer, its outputs in the graph's shapes, and if wanted its `state_value`."""
        writer, op = self._writer, self._op
        names = [writer.new(f"{value}/stacked") for value in self._node.outputs]
        inputs = [*self._weights(), self._lengths(), *map(self._stacked_state, self._states())]
        if op.kind == "lstm" and self._operands[5]:
            peepholes = self._graph.constants[self._operands[5]]
            inputs.append(self._constant("P", peepholes[None]))
        while inputs[-1] == "":
            inputs.pop()
        writer.add(op.kind.upper(), inputs, *names, **self._attributes())
        shapes = [(self._steps, self._batch, self._hidden), *[(self._batch, self._hidden)] * 2]
        for name, value, shape in zip(names, self._node.outputs, shapes, strict=False):
            self._reshape(name, value, shape)
        if state_value(self._node) in writer.wanted:
            self._write_states()

    def _attributes(self) -> dict[str, Any]:
        op = self._op
        for activation in op.activations:
            if activation.kind not in ACTIVATIONS:
                raise TypeError(f"{activation} cannot be written as the gate of an ONNX layer")
        params = [activation.params for activation in op.activations if activation.params]
        attributes: dict[str, Any] = {
            "hidden_size": self._hidden,
            "direction": "reverse" if op.reverse else "forward",
            "activations": [ACTIVATIONS[activation.kind] for activation in op.activations],
        }
        if params:
            attributes["activation_alpha"] = [values[0] for values in params]
        if betas := [values[1] for values in params if len(values) > 1]:
            attributes["activation_beta"] = betas
        if op.clip is not None:
            attributes["clip"] = op.clip
        if op.kind == "gru":
            attributes["linear_before_reset"] = int(op.reset_after)
        return attributes

    def _weights(self) -> list[str]:
        """x, W, R and B."""
        constants, product = self._graph.constants, self._product
        recurrent = constants[self._operands[1]]
        x = self._node.inputs[0] if product is None else product.inputs[0]
        weight: npt.NDArray[np.generic] = np.eye(self._columns, dtype=np.float32)
        own = np.zeros(self._columns, np.float32)
        if product is not None:
            weight = constants[product.inputs[1]].T
            if len(product.inputs) > 2:
                own = constants[product.inputs[2]].astype(np.float32)
        other = constants.get(self._operands[2], np.zeros_like(own))
        bias = ""
        if own.any() or other.any():
            bias = self._constant("B", np.concatenate([own, other])[None])
        return [
            x,
            self._constant("W", weight[None]),
            self._constant("R", recurrent.T[None]),
            bias,
        ]

    def _lengths(self) -> str:
        if not self._op.lengths:
            return ""
        return self._constant("lengths", np.array(self._op.lengths, np.int32))

    def _states(self) -> list[str]:
        return self._operands[3:5] if self._op.kind == "lstm" else self._operands[3:4]

    def _stacked_state(self, value: str) -> str:
        """An initial state as [1, B, H]."""
        if not value:
            return ""
        stacked = self._writer.new(f"{value}/stacked")
        self._reshape(value, stacked, (1, self._batch, self._hidden))
        return stacked

    def _write_states(self) -> None:
        """h before every step: the first state, then y one step late."""
        name = state_value(self._node)
        op, y, h0 = self._op, self._node.outputs[0], self._operands[3]
        first = self._new("first")
        if h0:
            self._reshape(h0, first, (1, self._batch, self._hidden))
        else:
            zeros = np.zeros((1, self._batch, self._hidden), np.float32)
            self._writer.initializers[first] = zeros
        before = name if op.states == 1 else self._new("before")
        parts = [first]
        if self._steps > 1:
            kept = (1, self._steps) if op.reverse else (0, self._steps - 1)
            late = self._new("late")
            bounds = [self._constant("late", [edge]) for edge in kept]
            axes = self._constant("axes", [0])
            self._writer.add("Slice", [y, *bounds, axes], late)
            parts = [late, first] if op.reverse else [first, late]
        if op.reverse and op.lengths:
            shifted = self._new("shifted")
            self._writer.add("Concat", parts, shifted, axis=0)
            # Beyond the end of a sequence y is zero, and the first step back reads the first state.
            inner = np.arange(1, self._steps + 1)[:, None, None] < np.array(op.lengths)[:, None]
            self._writer.add("Where", [self._constant("inner", inner), shifted, first], before)
        else:
            self._writer.add("Concat", parts, before, axis=0)
        if op.states == 2:
            self._write_reset_states(before, name)

    def _write_reset_states(self, before: str, name: str) -> None:
        """h and r * h side by side, r computed for all steps at once."""
        hidden, writer, constants = self._hidden, self._writer, self._graph.constants
        columns = slice(hidden, 2 * hidden)
        if self._product is None:
            bounds = [
                self._constant(f"r/{edge}", np.array([edge])) for edge in (hidden, 2 * hidden)
            ]
            total = self._new("r/input")
            writer.add(
                "Slice", [self._node.inputs[0], *bounds, self._constant("r/axes", [2])], total
            )
        else:
            weight, *biases = (constants[value][..., columns] for value in self._product.inputs[1:])
            total = self._product_with(self._product.inputs[0], "r/W", weight)
            for bias in biases:
                total = self._sum(total, self._constant("r/b", bias))
        weight = constants[self._operands[1]][:, columns]
        total = self._sum(total, self._product_with(before, "r/R", weight))
        if self._operands[2]:
            total = self._sum(total, self._constant("r/Rb", constants[self._operands[2]][columns]))
        if self._op.clip is not None:
            clipped = self._new("r/clipped")
            writer.unary(Unary("clip", (-self._op.clip, self._op.clip)), total, clipped)
            total = clipped
        gate, reset = self._new("r"), self._new("reset")
        writer.unary(self._op.activations[0], total, gate)
        writer.add("Mul", [gate, before], reset)
        writer.add("Concat", [before, reset], name, axis=2)

    def _product_with(self, x: str, label: str, weight: npt.NDArray[np.generic]) -> str:
        product = self._new(label)
        self._writer.add("MatMul", [x, self._constant(label, weight)], product)
        return product

    def _sum(self, a: str, b: str) -> str:
        total = self._new("sum")
        self._writer.add("Add", [a, b], total)
        return total

    def _reshape(self, value: str, output: str, shape: tuple[int, ...]) -> None:
        if value in self._graph.constants:
            self._writer.initializers[value] = self._graph.constants[value]
        self._writer.add("Reshape", [value, self._constant("shape", shape)], output)

    def _new(self, label: str) -> str:
        return self._writer.new(f"{state_value(self._node)}/{label}")

    def _constant(self, label: str, array: npt.ArrayLike) -> str:
        contiguous = np.ascontiguousarray(array)
        return self._writer.initializer(f"{self._node.name}/{label}", contiguous)
