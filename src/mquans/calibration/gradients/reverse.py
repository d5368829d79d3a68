"""Reverse accumulation: from gradients at the outputs to gradients at layers and values."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace

from mquans.calibration.gradients.rules import input_gradient, stops
from mquans.calibration.gradients.tape import Tape
from mquans.errors import MquansError
from mquans.graph import Conv, ConvTranspose, Graph, Linear, Node, ValueType, free_name


@dataclass(frozen=True, slots=True)
class GradientGraph:
    """A network with its vector-Jacobian product `v -> J^T v`.

    Attributes:
        tape: forward and backward nodes; append to it what is to be made of the gradients. Its
            graph's inputs are those of the network, then the cotangents.
        cotangents: value to the graph input that takes `v` there, of the value's shape: for every
            output that gradients can start from, and for every value in `stopped`.
        stopped: values whose gradients end in nodes without a derivative (fallback subgraphs,
            sign), which read them. They get a cotangent of their own as if they were outputs.
        layer_inputs: reuse layer to the gradient at its input, of the input's shape. What other
            readers of the same value contribute is not in it.
        layer_outputs: reuse layer to the gradient at its output before the activation.
        values: value asked for to its gradient, from all its readers.
    """

    tape: Tape
    cotangents: dict[str, str]
    stopped: tuple[str, ...]
    layer_inputs: dict[str, str]
    layer_outputs: dict[str, str]
    values: dict[str, str]


def gradient_graph(
    graph: Graph, *, layers: Container[str] | None = None, values: Sequence[str] = ()
) -> GradientGraph:
    """Builds the vector-Jacobian product of a network.

    Layers and values from which no cotangent is reached are absent in the result.

    Args:
        layers: names of the reuse layers to get gradients at; by default all.
        values: names of further values to get gradients at.

    Raises:
        MquansError: a value is not one of the graph's, or is no float32 of static shape.
    """
    for value in values:
        if not _is_real(graph.types.get(value)):
            raise MquansError(
                f"there is no float32 value {value!r} to differentiate by.",
                where=f"model {graph.name!r}",
            )
    wanted = {n.name for n in graph.reuse_layers() if layers is None or n.name in layers}
    return _Sweep(graph, wanted, tuple(dict.fromkeys(values))).run()


class _Sweep:
    """One pass backwards over the nodes."""

    def __init__(self, graph: Graph, layers: set[str], values: tuple[str, ...]) -> None:
        self.graph = graph
        self.layers, self.values = layers, values
        self.tape = Tape(graph)
        self.nodes = [part for node in graph.nodes for part in self._forward(node)]
        self.moving = self._moving()
        self.parts: dict[str, list[str]] = {}
        self.layer_inputs: dict[str, str] = {}
        self.layer_outputs: dict[str, str] = {}

    def run(self) -> GradientGraph:
        made = {output for node in self.nodes if not stops(node) for output in node.outputs}
        starts = [value for value in self.graph.outputs if value in made.union(self.values)]
        stopped = [value for node in self.nodes if stops(node) for value in node.inputs]
        cotangents = {
            value: self.tape.input(f"{value}/cotangent", self.tape.shape(value))
            for value in dict.fromkeys([*starts, *stopped])
            if value in self.moving and _is_real(self.tape.graph.types[value])
        }
        for value, name in cotangents.items():
            self.parts[value] = [name]
        for node in reversed(self.nodes):
            self._visit(node)
        return GradientGraph(
            tape=self.tape,
            cotangents=cotangents,
            stopped=tuple(value for value in cotangents if value in stopped),
            layer_inputs={n.name: self.layer_inputs[n.name] for n in self._found()},
            layer_outputs={n.name: self.layer_outputs[n.name] for n in self._found()},
            values={value: g for value in self.values if (g := self._total(value)) is not None},
        )

    def _forward(self, node: Node) -> list[Node]:
        """A node of the network, on the tape; activations become nodes of their own, since
        gradients pass through the value before them."""
        parts = [node]
        if isinstance(node.op, Conv | ConvTranspose | Linear) and node.op.activation is not None:
            output = node.outputs[0]
            linear = free_name(f"{output}/linear", self.tape.graph.types)
            self.tape.graph.types[linear] = self.graph.types[output]
            parts = [
                replace(node, op=replace(node.op, activation=None), outputs=(linear,)),
                Node(f"{node.name}/activation", node.op.activation, (linear,), (output,)),
            ]
        for part in parts:
            self.tape.copy(part)
        return parts

    def _moving(self) -> set[str]:
        """Values that depend on what gradients are wanted at."""
        moving = set(self.values)
        for node in self.nodes:
            if node.name in self.layers or moving.intersection(node.inputs):
                moving.update(node.outputs)
        # The inputs of layers are not in it: only the layer's own reading of them is varied.
        return moving

    def _visit(self, node: Node) -> None:
        if stops(node) or node.outputs[0] not in self.moving:
            return
        gradient = self._total(node.outputs[0])
        if gradient is None:
            return
        if node.name in self.layers:
            self.layer_outputs[node.name] = gradient
        for index, value in enumerate(node.inputs):
            is_layer_input = node.name in self.layers and index == 0
            if not is_layer_input and value not in self.moving:
                continue
            part = input_gradient(self.tape, node, index, gradient)
            assert self.tape.shape(part) == self.tape.shape(value), node
            if is_layer_input:
                self.layer_inputs[node.name] = part
            if value in self.moving:
                self.parts.setdefault(value, []).append(part)

    def _total(self, value: str) -> str | None:
        parts = self.parts.get(value)
        if not parts:
            return None
        total = parts[0]
        for part in parts[1:]:
            total = self.tape.add(total, part)
        self.parts[value] = [total]
        return total

    def _found(self) -> list[Node]:
        return [node for node in self.graph.reuse_layers() if node.name in self.layer_inputs]


def _is_real(kind: ValueType | None) -> bool:
    return kind is not None and kind.dtype == "float32" and all(size >= 0 for size in kind.shape)
