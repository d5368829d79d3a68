"""Putting branches, bodies of loops and definitions of operators in the place of their nodes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from mquans.onnx.structure import subgraphs


def inline_graph(
    branch: onnx.GraphProto,
    outputs: Sequence[str],
    new_value: Callable[[str], str],
    inputs: Mapping[str, str] | None = None,
) -> tuple[dict[str, npt.NDArray[np.generic]], list[onnx.NodeProto]]:
    """A branch or body as nodes of the graph around it.

    Args:
        branch: it may read values of the graph around it by name.
        outputs: names of the node's outputs, which the branch must compute; "" where nobody asks.
        new_value: makes a name that is not taken yet.
        inputs: values around it by the branch's inputs; "" where none is given.

    Returns:
        (constants by name, nodes in order). Names inside are changed where they were taken.
    """
    names = dict(inputs or {})
    computed = {value for node in branch.node for value in node.output}
    for value, output in zip(branch.output, outputs, strict=True):
        if output and value.name in computed and value.name not in names:
            names[value.name] = output
    for name in [t.name for t in branch.initializer] + sorted(computed):
        if name and name not in names:
            names[name] = new_value(name)
    constants = {names[t.name]: numpy_helper.to_array(t) for t in branch.initializer}
    nodes = [renamed(node, names) for node in branch.node]
    for value, output in zip(branch.output, outputs, strict=True):
        source = names.get(value.name, value.name)
        if output and source != output:
            nodes.append(onnx.helper.make_node("Identity", [source], [output]))
    return constants, nodes


def captured(node: onnx.NodeProto) -> list[str]:
    """Values of the graph around it that the subgraphs of a node read, in order, once each."""
    found: dict[str, None] = {}
    for graph in subgraphs(node):
        known = {t.name for t in graph.initializer} | {v.name for v in graph.input}
        for inner in graph.node:
            for value in [*inner.input, *captured(inner)]:
                if value and value not in known:
                    found[value] = None
            known.update(inner.output)
        for output in graph.output:
            if output.name not in known:
                found[output.name] = None
    return list(found)


def renamed(node: onnx.NodeProto, names: dict[str, str]) -> onnx.NodeProto:
    """A copy of a node with its values renamed, in its subgraphs as well. It has no name: other
    copies would have the same, which onnxruntime refuses."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.name = ""
    rename(copy, names)
    return copy


def rename(node: onnx.NodeProto, names: dict[str, str]) -> None:
    """Rename values that a node and its subgraphs read or write, in place."""
    node.input[:] = [names.get(value, value) for value in node.input]
    node.output[:] = [names.get(value, value) for value in node.output]
    for graph in subgraphs(node):
        own = {t.name for t in graph.initializer} | {v.name for v in graph.input}
        own |= {value for inner in graph.node for value in inner.output}
        visible = {old: new for old, new in names.items() if old not in own}
        for inner in graph.node:
            rename(inner, visible)
        for output in graph.output:
            output.name = visible.get(output.name, output.name)


def value_names(graph: onnx.GraphProto) -> set[str]:
    """All values of a graph, those inside its branches left out."""
    names = {value.name for value in graph.input} | {t.name for t in graph.initializer}
    return names | {output for node in graph.node for output in node.output}


def replace_nodes(graph: onnx.GraphProto, nodes: Sequence[onnx.NodeProto]) -> None:
    """Put other nodes in the place of all those of a graph."""
    copies = list(nodes)
    del graph.node[:]
    graph.node.extend(copies)
