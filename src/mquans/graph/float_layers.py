"""Layers as products in floats, for what sixteen bits cannot hold.

Sound spans more than codes do: what is quiet is left with few of them, and a normalization or a
logarithm makes the rounding of these as loud as everything else.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from math import prod

import numpy as np

from mquans.errors import PlanError
from mquans.graph.edits import free_name
from mquans.graph.graph import Graph, Node, ValueType
from mquans.graph.operators import (
    Array,
    Binary,
    Concat,
    Conv,
    Expand,
    Gather,
    Linear,
    MatMul,
    Operator,
    Pad,
    Reduce,
    Reshape,
    Slice,
    Transpose,
    Unary,
)
from mquans.graph.shapes import infer_node

RELATIVE = frozenset({"relu", "clip", "abs", "sqrt", "neg"})
"""Functions that leave what is small small."""

LARGEST_CLIP = 1e4
"""Upper bounds of activations of layers are less: 6 of most."""


def is_over_time(graph: Graph, node: Node) -> bool:
    """A convolution of all channels whose windows reach along one axis, the last one."""
    if not isinstance(node.op, Conv) or node.op.groups > 1:
        return False
    op, space = node.op, len(node.op.kernel)
    others = [*op.kernel[:-1], *op.strides[:-1]]
    flat = not any(op.pads[: space - 1]) and not any(op.pads[space : 2 * space - 1])
    return flat and set(others) <= {1} and all(n == 1 for n in graph.shape(node.inputs[0])[2:-1])


def can_be_in_floats(graph: Graph, node: Node) -> bool:
    """A convolution over time, or a linear layer whose rows are compared with themselves."""
    if isinstance(node.op, Linear):
        return not node.op.batch and len(graph.shape(node.inputs[0])) > 1
    return is_over_time(graph, node)


def layers_before_logarithms(graph: Graph) -> list[Node]:
    """Layers that can be in floats and whose results a logarithm reads, through sums, products,
    powers and what moves values, and through other such layers: the spectrum and the bands of a
    network that hears."""
    producers = graph.producers()
    found: dict[str, Node] = {}
    seen: set[str] = set()
    open_values = [node.inputs[0] for node in graph.nodes if node.op == Unary("log")]
    while open_values:
        value = open_values.pop()
        node = producers.get(value)
        if node is None or value in seen:
            continue
        seen.add(value)
        if _passes_relations(graph, node):
            open_values += [name for name in node.inputs if name]
            if node.is_reuse:
                found[node.name] = node
    return [node for node in graph.nodes if node.name in found]


def _passes_relations(graph: Graph, node: Node) -> bool:
    """Whether what is small behind a node may come from what is small in front of it."""
    match node.op:
        case Linear(activation=activation) | Conv(activation=activation):
            return _is_floor(activation) and can_be_in_floats(graph, node)
        case Unary(kind=kind):
            return kind in RELATIVE
        case Binary(kind=kind):
            return kind in ("add", "sub", "mul", "div", "max", "min", "pow")
        case Concat() | Expand() | Gather() | Pad() | Reduce() | Reshape() | Slice() | Transpose():
            return True
        case _:
            return False


def _is_floor(activation: Unary | None) -> bool:
    """None, or what keeps logarithms finite. Behind any other function a layer is part of a network
    that learns what matters, not of a spectrum."""
    return activation is None or (activation.kind == "clip" and activation.params[1] > LARGEST_CLIP)


def in_floats(graph: Graph, names: Collection[str]) -> Graph:
    """The network with some of its convolutions over time and linear layers as products that have
    no codes.

    Args:
        names: of the nodes.

    Raises:
        PlanError: there is no such layer.
    """
    known = {node.name for node in graph.nodes if can_be_in_floats(graph, node)}
    if missing := [name for name in names if name not in known]:
        raise PlanError(
            f"the plan computes {missing[0]!r} in floats, which is no convolution over time "
            "and no linear layer of this network.",
            where="floats",
            hint="Calibrate again with this model.",
        )
    chosen = frozenset(names)
    made = replace(graph, constants=dict(graph.constants), types=dict(graph.types), nodes=[])
    for node in graph.nodes:
        if node.name in chosen:
            _Product(made, node).write()
        else:
            made.nodes.append(node)
    return made


class _Product:
    """The nodes that one layer becomes."""

    def __init__(self, graph: Graph, node: Node) -> None:
        self.graph, self.node = graph, node

    def write(self) -> None:
        """A product of rows, and what follows it."""
        graph, node = self.graph, self.node
        if isinstance(node.op, Linear):
            matrix = np.asarray(graph.constants[node.inputs[1]])
            self._multiply(node.inputs[0], matrix, node.op.activation)
        else:
            assert isinstance(node.op, Conv)
            self._convolve(node.op)
        last = graph.nodes.pop()
        for name in last.outputs:
            del graph.types[name]
        graph.nodes.append(Node(node.name, last.op, last.inputs, node.outputs))

    def _convolve(self, op: Conv) -> None:
        """Windows as rows, times the weights."""
        graph, node = self.graph, self.node
        x, y = graph.shape(node.inputs[0]), graph.shape(node.outputs[0])
        last, taps = len(x) - 1, op.kernel[-1]
        # [batch, space..., channels]
        value = self._add("rows", Transpose((0, *range(2, last + 1), 1)), node.inputs[0])
        before, after = op.pads[len(op.kernel) - 1], op.pads[-1]
        if before or after:
            pads = [0] * (2 * len(x))
            pads[last - 1], pads[len(x) + last - 1] = before, after
            value = self._add("padded", Pad(tuple(pads)), value)
        if (taps, op.strides[-1]) != (1, 1):
            starts = np.arange(y[-1])[:, None] * op.strides[-1]
            places = starts + np.arange(taps) * op.dilations[-1]
            value = self._add("places", Gather(last - 1, tuple(places.reshape(-1).tolist())), value)
            rows = (x[0], *y[2:], taps * x[1])
            value = self._add("windows", Reshape(rows), value)
        weight = np.asarray(graph.constants[node.inputs[1]])
        # [outputs, channels, taps] to [taps * channels, outputs]
        matrix = weight.reshape(*weight.shape[:2], prod(op.kernel)).transpose(2, 1, 0)
        value = self._multiply(value, matrix.reshape(-1, len(weight)), op.activation)
        self._add("back", Transpose((0, last, *range(1, last))), value)

    def _multiply(self, value: str, matrix: Array, activation: Unary | None) -> str:
        graph, node = self.graph, self.node
        lifted = matrix.reshape(*[1] * (len(graph.shape(value)) - 2), *matrix.shape)
        value = self._add("product", MatMul(), value, self._constant("matrix", lifted))
        if len(node.inputs) > 2 and node.inputs[2]:
            bias = graph.constants[node.inputs[2]].reshape(-1)
            value = self._add("sum", Binary("add"), value, self._constant("bias", bias))
        if activation is not None:
            value = self._add("activation", activation, value)
        return value

    def _add(self, name: str, op: Operator, *inputs: str) -> str:
        types = self.graph.types
        value = free_name(f"{self.node.name}/{name}", types)
        node = Node(f"{self.node.name}/{name}", op, inputs, (value,))
        types[value] = ValueType(infer_node(node, [types[x].shape for x in inputs])[0])
        self.graph.nodes.append(node)
        return value

    def _constant(self, name: str, array: Array) -> str:
        value = free_name(f"{self.node.name}/{name}", self.graph.types)
        self.graph.constants[value] = np.asarray(array, np.float32, order="C")
        self.graph.types[value] = ValueType(array.shape)
        return value
