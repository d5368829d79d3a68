"""Merging neighbouring fallback subgraphs, so that onnxruntime is called once for each stretch of
nodes."""

from __future__ import annotations

from collections.abc import Iterable

import onnx
from onnx import numpy_helper

from mquans.errors import UnsupportedOperatorError
from mquans.graph import Fallback, Graph, Node
from mquans.onnx.fallbacks import OPAQUE, type_proto
from mquans.onnx.folding import IR_VERSION
from mquans.onnx.node_writer import NodeWriter


def merge_fallbacks(graph: Graph) -> Graph:
    """Join fallback subgraphs that feed each other, unless that would close a cycle; edits in
    place.

    Afterwards the inputs and outputs of every fallback subgraph's model carry the names of the
    graph's values.

    Raises:
        UnsupportedOperatorError: a value that is no tensor would have to leave a fallback subgraph.
    """
    groups = _group(graph)
    if not groups:
        return graph
    members = {id(node): group for group in groups for node in group}
    contracted: list[Node] = []
    done: set[int] = set()
    for node in graph.nodes:
        group = members.get(id(node))
        if group is None:
            contracted.append(node)
        elif id(group) not in done:
            done.add(id(group))
            contracted.append(_merged(graph, group))
    graph.nodes[:] = _sorted(contracted)
    _check_borders(graph)
    alive = {output for node in graph.nodes for output in node.outputs}
    alive |= set(graph.inputs) | set(graph.constants)
    graph.types = {name: kind for name, kind in graph.types.items() if name in alive}
    return graph


def _group(graph: Graph) -> list[list[Node]]:
    """Fallback subgraphs in groups that may become one node each."""
    groups: list[list[Node]] = []
    own: dict[str, int] = {}
    """Group that computes a value."""
    above: dict[str, set[int]] = {}
    """Groups that a value depends on."""
    deps: list[set[int]] = []
    """Groups that a group depends on."""
    for node in graph.nodes:
        inputs = [value for value in node.inputs if value in above]
        reached = set().union(*(above[value] for value in inputs))
        if isinstance(node.op, Fallback):
            index = next((g for g in _joinable(inputs, own, above, deps)), len(groups))
            if index == len(groups):
                groups.append([])
                deps.append(set())
            groups[index].append(node)
            deps[index] |= reached - {index}
            own.update((output, index) for output in node.outputs)
            reached = reached | {index}
        above.update((output, reached) for output in node.outputs)
    return groups


def _joinable(
    inputs: list[str], own: dict[str, int], above: dict[str, set[int]], deps: list[set[int]]
) -> Iterable[int]:
    """Groups that a node with these inputs may join: no path may leave the group and come back."""
    for index in dict.fromkeys(own[value] for value in inputs if value in own):
        others = [value for value in inputs if own.get(value) != index]
        if all(index not in _closure(above[value], deps) for value in others):
            yield index


def _closure(groups: set[int], deps: list[set[int]]) -> set[int]:
    found, queue = set(groups), list(groups)
    while queue:
        new = deps[queue.pop()] - found
        found |= new
        queue += new
    return found


def _merged(graph: Graph, group: list[Node]) -> Node:
    computed = {output for node in group for output in node.outputs}
    inputs = tuple(
        dict.fromkeys(value for node in group for value in node.inputs if value not in computed)
    )
    inside = {id(node) for node in group}
    read = {value for node in graph.nodes if id(node) not in inside for value in node.inputs}
    read |= set(graph.outputs)
    outputs = tuple(output for node in group for output in node.outputs if output in read)
    writer = NodeWriter(graph)
    opsets: dict[str, int] = {}
    op_types: list[str] = []
    reasons: list[str] = []
    macs = 0
    for node in group:
        assert isinstance(node.op, Fallback)
        model = onnx.load_model_from_string(node.op.model)
        opsets |= {entry.domain: entry.version for entry in model.opset_import}
        writer.fallback(node, model)
        op_types += node.op.op_types
        reasons.append(node.op.reason)
        macs += node.op.macs
    body = onnx.helper.make_graph(
        writer.nodes,
        group[0].name,
        [onnx.ValueInfoProto(name=name, type=type_proto(graph.types[name])) for name in inputs],
        [onnx.ValueInfoProto(name=name, type=type_proto(graph.types[name])) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in writer.initializers.items()],
    )
    imports = [onnx.helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    model = onnx.helper.make_model(body, opset_imports=imports, ir_version=IR_VERSION)
    reason = "; ".join(dict.fromkeys(reasons))
    fallback = Fallback(model.SerializeToString(), tuple(op_types), reason, macs)
    return Node(group[0].name, fallback, inputs, outputs)


def _sorted(nodes: list[Node]) -> list[Node]:
    """Topological order that stays as close to the given one as it can."""
    producer = {output: index for index, node in enumerate(nodes) for output in node.outputs}
    placed: dict[int, None] = {}
    for root in range(len(nodes)):
        stack = [root]
        while stack:
            index = stack[-1]
            before = {producer[value] for value in nodes[index].inputs if value in producer}
            missing = sorted(before - placed.keys(), reverse=True)
            if missing:
                stack += missing
            else:
                placed[stack.pop()] = None
    return [nodes[index] for index in placed]


def _check_borders(graph: Graph) -> None:
    for node in graph.nodes:
        for output in node.outputs:
            if isinstance(node.op, Fallback) and graph.types[output].dtype == OPAQUE:
                raise UnsupportedOperatorError(
                    f"its result {output!r} is not a tensor and is read outside of the "
                    f"nodes that onnxruntime runs ({', '.join(node.op.op_types)}).",
                    where=f"node {node.name!r}",
                    hint="Export the model without it.",
                )
