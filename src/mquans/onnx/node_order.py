"""Nodes in an order in which every value is computed before it is read."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter

import onnx

from mquans.errors import ModelError
from mquans.onnx.scopes import captured


def sort_nodes(graph: onnx.GraphProto) -> None:
    """Put the nodes of a graph in order; a graph in order stays as it is.

    Files must list nodes so, but onnxruntime runs those that do not (of subgraphs it refuses them).

    Raises:
        ModelError: nodes read each other's results in a circle.
    """
    makers = {value: i for i, node in enumerate(graph.node) for value in node.output if value}
    reads = [
        {makers[value] for value in [*node.input, *captured(node)] if value in makers}
        for node in graph.node
    ]
    if all(max(before, default=-1) < i for i, before in enumerate(reads)):
        return
    try:
        order = list(TopologicalSorter(dict(enumerate(reads))).static_order())
    except CycleError as error:
        node = graph.node[error.args[1][0]]
        raise ModelError(
            "its result goes round in a circle to its own input.",
            where=f"node {node.name or node.output[0]!r} ({node.op_type})",
            hint="Export the model again; networks that remember give their states as outputs.",
        ) from None
    nodes = [graph.node[index] for index in order]
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
