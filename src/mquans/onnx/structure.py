"""Whether a model keeps the rules of the format: what every node reads and makes, and how much."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import onnx

from mquans.errors import ModelError
from mquans.files import printable
from mquans.onnx.external_weights import tensors_of
from mquans.onnx.limits import HINT, Limits


def check_structure(model: onnx.ModelProto, where: str) -> None:
    """Refuses what breaks the rules, before anything else looks at the model.

    Args:
        where: the model, for messages.

    Raises:
        ModelError: two nodes make one value, a node reads what nothing makes, functions call each
            other in a circle, or there is more of something than the limits allow.
    """
    limits = Limits.from_environment()
    if model.ir_version > onnx.IR_VERSION:
        raise ModelError(
            f"it is of ONNX format {model.ir_version}, and the installed onnx package knows up to "
            f"{onnx.IR_VERSION}.",
            where=where,
            hint="Upgrade with: pip install --upgrade onnx onnxruntime",
        )
    for tensor in tensors_of(model):
        place = f"{where}, tensor {printable(tensor.name)!r}"
        if min(tensor.dims, default=0) < 0:
            raise ModelError(f"its shape {list(tensor.dims)} has negative sizes.", where=place)
        limits.check_value(tuple(tensor.dims), place)
    count = _Unfolding(model, where).count()
    if count > limits.nodes:
        raise ModelError(
            f"it has {count} nodes once its functions are unfolded; {limits.nodes} are allowed.",
            where=where,
            hint=HINT,
        )
    _check_graph(model.graph, set(), where)
    for function in model.functions:
        place = f"{where}, function {printable(function.name)!r}"
        _check_nodes(function.node, set(function.input), set(), place)
        _check_made(function.output, function.node, set(function.input), place)


class _Unfolding:
    """How many nodes a model has when its local functions are put in the place of their calls."""

    def __init__(self, model: onnx.ModelProto, where: str) -> None:
        self._graph = model.graph
        self._functions = {(f.domain, f.name): f for f in model.functions}
        self._counts: dict[tuple[str, str], int] = {}
        self._open: set[tuple[str, str]] = set()
        self._where = where

    def count(self) -> int:
        return self._nodes(self._graph.node)

    def _nodes(self, nodes: Iterable[onnx.NodeProto]) -> int:
        return sum(self._node(node) for node in nodes)

    def _node(self, node: onnx.NodeProto) -> int:
        key = node.domain, node.op_type
        inside = sum(self._nodes(graph.node) for graph in subgraphs(node))
        return 1 + inside + (self._function(key) if key in self._functions else 0)

    def _function(self, key: tuple[str, str]) -> int:
        if key in self._open:
            raise ModelError(
                f"its function {printable(key[1])!r} calls itself.",
                where=self._where,
                hint="Export the model again.",
            )
        if key not in self._counts:
            self._open.add(key)
            self._counts[key] = self._nodes(self._functions[key].node)
            self._open.remove(key)
        return self._counts[key]


def subgraphs(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """Branches and bodies of a node."""
    graphs = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    return graphs + [graph for attribute in node.attribute for graph in attribute.graphs]


def node_place(node: onnx.NodeProto, where: str) -> str:
    """A node for messages: its name, or that of its first output, and its operator."""
    name = node.name or next(filter(None, node.output), "")
    return f"{where}, node {printable(name)!r} ({printable(node.op_type)})"


def _check_graph(graph: onnx.GraphProto, outer: set[str], where: str) -> None:
    """A graph, or a branch or body that also reads the values `outer` around it."""
    given = {tensor.name for tensor in graph.initializer} | {value.name for value in graph.input}
    given |= {sparse.values.name for sparse in graph.sparse_initializer}
    names = [tensor.name for tensor in graph.initializer]
    _check_listed_weights(graph, where)
    for listed, what in ((names, "weights"), ([v.name for v in graph.input], "inputs")):
        if twice := _repeated(listed):
            raise ModelError(f"two of its {what} have the name {printable(twice)!r}.", where=where)
    _check_nodes(graph.node, given, outer, where)
    _check_made([value.name for value in graph.output], graph.node, given | outer, where)


def _check_listed_weights(graph: onnx.GraphProto, where: str) -> None:
    """Weights that are inputs too, as older exporters list them, have the type of the input."""
    listed = {value.name: value.type.tensor_type for value in graph.input}
    for tensor in graph.initializer:
        kind = listed.get(tensor.name)
        if kind is None or not kind.HasField("shape"):
            continue
        sizes = [dim.dim_value for dim in kind.shape.dim]
        fits = len(sizes) == len(tensor.dims) and all(
            size in (0, found) for size, found in zip(sizes, tensor.dims, strict=True)
        )
        if not fits or kind.elem_type != tensor.data_type:
            raise ModelError(
                f"the weight {printable(tensor.name)!r} of shape {list(tensor.dims)} is listed as "
                f"an input of another shape {sizes} or type.",
                where=where,
                hint="Export the model again.",
            )


def _check_nodes(
    nodes: Sequence[onnx.NodeProto], given: set[str], outer: set[str], where: str
) -> None:
    made = set(given)
    for node in nodes:
        for value in filter(None, node.output):
            if value in made:
                raise ModelError(
                    f"it makes the value {printable(value)!r}, which is there already.",
                    where=node_place(node, where),
                    hint="Give every value of the model one source.",
                )
            made.add(value)
        if not any(node.output):
            raise ModelError("it has no output.", where=node_place(node, where))
    known = made | outer
    for node in nodes:
        for value in filter(None, node.input):
            if value not in known:
                raise ModelError(
                    f"it reads {printable(value)!r}, which nothing in the model makes.",
                    where=node_place(node, where),
                    hint="Export the model again.",
                )
        for graph in subgraphs(node):
            _check_graph(graph, known, node_place(node, where))


def _check_made(
    outputs: Iterable[str], nodes: Iterable[onnx.NodeProto], given: set[str], where: str
) -> None:
    made = given.union(*(node.output for node in nodes))
    for name in outputs:
        if not name or name not in made:
            raise ModelError(f"nothing computes its output {printable(name)!r}.", where=where)


def _repeated(names: Sequence[str]) -> str | None:
    """The first name that is there twice."""
    seen = set[str]()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
