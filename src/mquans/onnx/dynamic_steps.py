"""Steps that differ from frame to frame: dynamic quantization is read without its roundings
(decision 39), as if all its scales were 1, where nothing but scaled sums is made of its integers.

Older quantizers also bring the bias to the steps of a sum, `Cast(sum + int(bias / (scale of x *
scale of weights)))`. It is taken out of the integers, where it would be rounded to steps that
nothing has.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import onnx
from onnx import TensorProto

from mquans.graph import free_name
from mquans.onnx.scopes import captured, renamed, replace_nodes, value_names

PRODUCTS = ("ConvInteger", "MatMulInteger")
ROUNDINGS = ("Floor", "Ceil", "Round")
MOVES = ("Reshape", "Unsqueeze", "Squeeze", "Flatten", "Identity")
INTEGERS = (TensorProto.INT32, TensorProto.INT64)


@dataclass
class _Bias:
    """A sum of integers and what is added to it.

    Attributes:
        moves: what brings the bias into shape, the last first.
        source: the bias before it is rounded.
    """

    total: str
    moves: list[onnx.NodeProto]
    source: str


class _Uses:
    """Who makes the values of a graph, and who reads them."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.maker = {output: node for node in graph.node for output in node.output}
        self.readers: dict[str, list[onnx.NodeProto | None]] = defaultdict(list)
        for node in graph.node:
            for value in filter(None, node.input):
                self.readers[value].append(node)
            for value in captured(node):
                self.readers[value].append(None)
        for output in graph.output:
            self.readers[output.name].append(None)

    def makes(self, value: str, *op_types: str) -> onnx.NodeProto | None:
        """The node that computes a value, if it is one of these."""
        node = self.maker.get(value)
        return node if node is not None and node.op_type in op_types else None

    def bias(self, add: onnx.NodeProto) -> _Bias | None:
        """What an Add adds to a product of integers that dynamic quantization made."""
        for total, value in (add.input, add.input[::-1]) if len(add.input) == 2 else ():
            product = self.makes(total, *PRODUCTS)
            if product is None or not self.makes(product.input[0], "DynamicQuantizeLinear"):
                continue
            moves = []
            while (move := self.makes(value, *MOVES)) is not None:
                moves.append(move)
                value = move.input[0]
            cast = self.makes(value, "Cast")
            rounding = cast and self.makes(cast.input[0], *ROUNDINGS)
            if cast and rounding and _target(cast) in INTEGERS:
                return _Bias(total, moves, rounding.input[0])
        return None

    def only_scales(self, quantization: onnx.NodeProto) -> bool:
        """True where nothing is made of codes, scale and zero but sums that are scaled back."""
        codes, scale, zero = [*quantization.output, "", ""][:3]
        return self.scales_back(scale) and all(
            reader is not None
            and (reader.op_type not in PRODUCTS or self.becomes_float(reader.output[0]))
            for value in (codes, zero)
            for reader in self.readers[value]
        )

    def scales_back(self, scale: str) -> bool:
        """True where a scale, and what is made of it, only multiplies or divides sums that have
        become floats, or biases of these."""
        return all(
            node is not None and self._scales_by(node, scale) for node in self.readers[scale]
        )

    def _scales_by(self, node: onnx.NodeProto, scale: str) -> bool:
        others = [value for value in node.input if value != scale]
        scaled = any(self.makes(value, "Cast", "Add") for value in others)
        match node.op_type:
            case "MatMulIntegerToFloat":
                return True
            case "Add":
                return scaled
            case "Mul" | "Div":
                return scaled or self.scales_back(node.output[0])
            case kind:
                return kind in MOVES and self.scales_back(node.output[0])

    def becomes_float(self, value: str) -> bool:
        """True where nothing reads a value but what makes a float of it."""
        readers = self.readers[value]
        return bool(readers) and all(
            node is not None and node.op_type == "Cast" and _target(node) == TensorProto.FLOAT
            for node in readers
        )


def _quantizations(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    return [node for node in graph.node if node.op_type == "DynamicQuantizeLinear" and node.output]


def _target(cast: onnx.NodeProto) -> int:
    return next((attribute.i for attribute in cast.attribute if attribute.name == "to"), 0)


def looked_at(graph: onnx.GraphProto) -> set[str]:
    """Codes of the dynamic quantizations of which something else is made than sums that are scaled
    back."""
    if not (nodes := _quantizations(graph)):
        return set()
    uses = _Uses(graph)
    return {node.output[0] for node in nodes if not uses.only_scales(node)}


def unround_biases(graph: onnx.GraphProto) -> None:
    """Let a sum become a float before its bias is added, which is not rounded then; in place."""
    if not _quantizations(graph):
        return
    uses = _Uses(graph)
    found: dict[str, _Bias] = {}
    for node in graph.node:
        if node.op_type == "Add" and uses.becomes_float(node.output[0]):
            bias = uses.bias(node)
            if bias is not None and len(uses.readers[bias.total]) == 1:
                found[node.output[0]] = bias
    if not found:
        return
    taken = value_names(graph)
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.output and node.output[0] in found:
            continue
        bias = found.get(node.input[0]) if node.op_type == "Cast" else None
        nodes.extend([node] if bias is None else _in_floats(node, bias, taken))
    replace_nodes(graph, _read(nodes, graph))


def _in_floats(cast: onnx.NodeProto, bias: _Bias, taken: set[str]) -> Iterator[onnx.NodeProto]:
    """What computes the output of a Cast that reads a sum and its bias."""
    make = onnx.helper.make_node

    def new(name: str) -> str:
        taken.add(name := free_name(name, taken))
        return name

    value = bias.source
    for move in reversed(bias.moves):
        moved = new(f"{move.output[0]}/float")
        yield renamed(move, {move.input[0]: value, move.output[0]: moved})
        value = moved
    total = new(f"{bias.total}/float")
    yield make("Cast", [bias.total], [total], name=cast.name, to=TensorProto.FLOAT)
    yield make("Add", [total, value], [cast.output[0]])


def _read(nodes: list[onnx.NodeProto], graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """Those of a graph's nodes that anything depends on."""
    wanted = {output.name for output in graph.output}
    kept = []
    for node in reversed(nodes):
        if not node.output or wanted.intersection(node.output):
            kept.append(node)
            wanted.update([*node.input, *captured(node)])
    return kept[::-1]
