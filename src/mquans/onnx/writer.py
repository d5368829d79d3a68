"""The inverse of the importer: a graph as an ONNX model that onnxruntime runs."""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnx import numpy_helper

from mquans.errors import ModelError
from mquans.graph import Fallback, Graph, Pool, Recurrence, ValueType, windows_left_out
from mquans.onnx.fallbacks import type_proto, upgraded
from mquans.onnx.folding import IR_VERSION
from mquans.onnx.model_file import default_opset
from mquans.onnx.node_writer import NodeWriter
from mquans.onnx.recurrence_writer import state_type, state_value

OPSET = 20
"""The first with every operator of the closed set (Gelu, Mish, all Resize modes)."""

POOL_OPSET = 22
"""The first in which onnxruntime knows the shape of pools whose last window is left out."""


def to_onnx(graph: Graph, *, outputs: Sequence[str] | None = None) -> onnx.ModelProto:
    """A model that computes the same values under the same names.

    Args:
        graph: any graph of the closed set.
        outputs: values to return, any of the graph (inputs, constants and the `state_value` of its
            recurrences included), in this order; by default the graph's outputs.

    Raises:
        ModelError: `outputs` names a value that the graph does not have.
    """
    wanted = list(dict.fromkeys(graph.outputs if outputs is None else outputs))
    states = {
        state_value(node): state_type(graph, node)
        for node in graph.nodes
        if isinstance(node.op, Recurrence)
    }
    types = graph.types | states
    for name in wanted:
        if name not in types:
            raise ModelError(
                f"it has no value {name!r} that could be returned.", where=f"model {graph.name!r}"
            )
    fallbacks = {
        node.name: onnx.load_model_from_string(node.op.model)
        for node in graph.nodes
        if isinstance(node.op, Fallback)
    }
    opset = max([_opset(graph), *map(default_opset, fallbacks.values())])
    domains = {"": opset}
    writer = NodeWriter(graph, wanted)
    for node in graph.nodes:
        if isinstance(node.op, Fallback):
            model = upgraded(fallbacks[node.name], opset, node.name)
            domains = {entry.domain: entry.version for entry in model.opset_import} | domains
            writer.fallback(node, model)
        else:
            writer.write(node)
    return _model(graph, writer, [_info(name, types[name]) for name in wanted], domains)


def _opset(graph: Graph) -> int:
    late = any(
        isinstance(node.op, Pool) and any(windows_left_out(node.op, graph.shape(node.inputs[0])))
        for node in graph.nodes
    )
    return POOL_OPSET if late else OPSET


def _model(
    graph: Graph, writer: NodeWriter, outputs: list[onnx.ValueInfoProto], domains: dict[str, int]
) -> onnx.ModelProto:
    names = [output.name for output in outputs]
    arrays = writer.initializers | {n: graph.constants[n] for n in names if n in graph.constants}
    proto = onnx.helper.make_graph(
        writer.nodes,
        graph.name,
        [_info(name, graph.types[name]) for name in graph.inputs],
        outputs,
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    return onnx.helper.make_model(
        proto,
        producer_name="mquans",
        ir_version=IR_VERSION,
        opset_imports=[onnx.helper.make_opsetid(*entry) for entry in domains.items()],
    )


def _info(name: str, kind: ValueType) -> onnx.ValueInfoProto:
    return onnx.ValueInfoProto(name=name, type=type_proto(kind))
