"""Which inputs of layers were made anew in a frame: all others cannot have changed, and nobody has
to look at them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mquans.graph import (
    Binary,
    Fallback,
    Graph,
    LayerNorm,
    Linear,
    MatMul,
    Node,
    Pad,
    Pool,
    Recurrence,
    Reduce,
    Softmax,
    Unary,
    ValueType,
)
from mquans.runtime.reference.interpreter import ReferenceNetwork
from mquans_studies.traces.layer_shape import Mask

OUTSIDE = ""
"""Stands among the producers of a layer for values that no layer makes: the network's inputs,
states that it takes, and results of fallback subgraphs."""


class ComputedInputs:
    """Follows computed outputs of layers through everything between layers.

    Attributes:
        producers: by layer, the layers that its input comes from, and `OUTSIDE`.
        given: by layer, inputs that come from outside, at least in part: new in every frame.
    """

    def __init__(self, graph: Graph) -> None:
        self._layers = list(graph.reuse_layers())
        self._shapes = {node.name: graph.shape(node.outputs[0]) for node in self._layers}
        self._masks = ReferenceNetwork(_mask_graph(graph), dtype=np.float32)
        self._types = self._masks.graph.types
        self.producers = _producers(graph)
        no_layer = {node.name: False for node in self._layers}
        self.given = {
            name: int(mask.sum()) if OUTSIDE in self.producers[name] else 0
            for name, mask in self._of_layers(no_layer).items()
        }

    def counts(self, reached: Mapping[str, Mask]) -> dict[str, int]:
        """Inputs of every layer that were made anew in a frame.

        Args:
            reached: by layer, outputs that were computed, [rows, columns, groups] (`Geometry`).
        """
        return {name: int(mask.sum()) for name, mask in self._of_layers(reached).items()}

    def _of_layers(self, reached: Mapping[str, Mask | bool]) -> dict[str, Mask]:
        made = {
            value: np.ones(self._types[value].shape, np.float32)
            for value in self._masks.graph.inputs
        }
        for node in self._layers:
            mask = reached[node.name]
            for value in node.outputs:
                made[value] *= mask if isinstance(mask, bool) else self._outputs(node, mask)
        masks = self._masks.run(made, [node.inputs[0] for node in self._layers])
        return {node.name: masks[node.inputs[0]] != 0 for node in self._layers}

    def _outputs(self, node: Node, reached: Mask) -> npt.NDArray[np.bool_] | bool:
        """Computed outputs of a layer in the order of ONNX; of recurrent layers all."""
        if isinstance(node.op, Recurrence):
            return True
        shape = self._shapes[node.name]
        if isinstance(node.op, Linear):
            return np.repeat(reached, shape[-1], axis=2).reshape(shape)
        groups = reached.shape[2]
        wide = np.repeat(reached, shape[1] // groups, axis=2)
        return np.moveaxis(wide.reshape(shape[0], *shape[2:], shape[1]), -1, 1)


def _producers(graph: Graph) -> dict[str, tuple[str, ...]]:
    origin: dict[str, set[str]] = {name: {OUTSIDE} for name in graph.inputs}
    found = {}
    for node in graph.nodes:
        read = set[str]().union(*(origin.get(value, set()) for value in node.inputs))
        if node.is_reuse:
            found[node.name] = tuple(sorted(read))
            read = {node.name}
        elif isinstance(node.op, Fallback):
            read = {OUTSIDE}
        origin.update((value, read) for value in node.outputs)
    return found


def _mask_graph(graph: Graph) -> Graph:
    """What lies between layers as a network of masks: a result is computed if anything that it is
    made of was. Outputs of layers are inputs of it, and constants are never computed."""
    made = [
        value
        for node in graph.nodes
        if node.is_reuse or isinstance(node.op, Fallback)
        for value in node.outputs
        if value and -1 not in graph.shape(value)
    ]
    inputs = tuple(dict.fromkeys([*graph.inputs, *made]))
    nodes = [
        mask_node
        for node in graph.nodes
        if not (node.is_reuse or isinstance(node.op, Fallback))
        for mask_node in _mask_nodes(graph, node)
    ]
    needed = {value for node in nodes for value in node.inputs}
    constants: dict[str, npt.NDArray[np.generic]] = {
        name: np.zeros(array.shape, np.float32)
        for name, array in graph.constants.items()
        if name in needed
    }
    types = {value: ValueType(graph.shape(value)) for value in inputs}
    outputs = tuple(dict.fromkeys(node.inputs[0] for node in graph.reuse_layers()))
    return Graph(graph.name, inputs, outputs, nodes, constants, types)


def _mask_nodes(graph: Graph, node: Node) -> Iterator[Node]:
    op, x, y = node.op, node.inputs[0], node.outputs[0]
    rank = len(graph.shape(x))
    match op:
        case Unary():
            yield replace(node, op=Unary("abs"))
        case Binary():
            yield replace(node, op=Binary("max"))
        case Pad(mode="constant"):
            yield replace(node, op=replace(op, value=0.0))
        case Pool():
            yield replace(node, op=replace(op, kind="max"))
        case Reduce():
            yield replace(node, op=replace(op, kind="max"))
        case Softmax() | LayerNorm():
            axes = (op.axis,) if isinstance(op, Softmax) else tuple(range(op.axis, rank))
            yield Node(f"{y}/any", Reduce("max", axes, True), (x,), (f"{y}/any",))
            yield Node(node.name, Binary("max"), (x, f"{y}/any"), (y,))
        case MatMul():
            for value, axis in zip(node.inputs, (-1, -2), strict=True):
                of = Reduce("max", (len(graph.shape(value)) + axis,), True)
                yield Node(f"{y}/{axis}", of, (value,), (f"{y}/{axis}",))
            yield Node(node.name, Binary("max"), (f"{y}/-1", f"{y}/-2"), (y,))
        case _:
            yield node
