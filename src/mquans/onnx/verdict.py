"""Whether onnxruntime would load a network: attributes, types and shapes of every operator."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import onnx

from mquans.errors import ModelError
from mquans.graph import ValueType
from mquans.onnx.explanation import explained
from mquans.onnx.folding import IR_VERSION, SMALL
from mquans.onnx.structure import node_place, subgraphs


def check_operators(model: onnx.ModelProto, inputs: Mapping[str, ValueType], where: str) -> None:
    """Refuses what onnxruntime refuses to load.

    A network with operators that ONNX does not define is not tried.

    Args:
        model: prepared, without local functions.
        inputs: static types of what is fed.
        where: the model, for messages.

    Raises:
        ModelError: names the node.
    """
    if not all(onnx.defs.has(node.op_type, node.domain) for node in _nodes(model.graph.node)):
        return
    # Without its weights a network loads in milliseconds; the others settle what only seems wrong.
    nodes = list(model.graph.node)
    if not (_complaint(model, nodes, inputs, SMALL) and _complaint(model, nodes, inputs, None)):
        return
    first, problem = _culprit(model, nodes, inputs)
    raise ModelError(
        f"onnxruntime refuses it: {problem}",
        where=node_place(nodes[first], where),
        hint="Export the model again.",
    )


def _culprit(
    model: onnx.ModelProto, nodes: Sequence[onnx.NodeProto], inputs: Mapping[str, ValueType]
) -> tuple[int, str]:
    """The first node with which the network does not load, and why, by bisection."""
    good, bad = 0, len(nodes)
    while bad - good > 1:
        middle = (good + bad) // 2
        if _complaint(model, nodes[:middle], inputs, None):
            bad = middle
        else:
            good = middle
    return bad - 1, str(_complaint(model, nodes[:bad], inputs, None))


def _complaint(
    model: onnx.ModelProto,
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, ValueType],
    largest: int | None,
) -> str | None:
    """Why onnxruntime does not load the first nodes of a network; None if it does.

    Args:
        largest: weights of more numbers are inputs instead; None: all are there.
    """
    import onnxruntime
    from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as NotThere

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    data = _bare(model, nodes, inputs, largest).SerializeToString()
    try:
        onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except NotThere:
        return None
    except Exception as error:
        # What kernels lack, such as recurrent layers with the batch first, is no fault of it.
        return None if "not supported" in str(error) else explained(error)
    return None


def _bare(
    model: onnx.ModelProto,
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, ValueType],
    largest: int | None,
) -> onnx.ModelProto:
    """Nodes without names, the smaller constants, and inputs of static shape."""
    bare = onnx.ModelProto(ir_version=IR_VERSION)
    bare.opset_import.extend(model.opset_import)
    graph = bare.graph
    graph.name = model.graph.name or "network"
    graph.node.extend(nodes)
    for node in graph.node:
        node.name = ""  # onnxruntime refuses names that stand twice
    types = {
        name: (onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind.dtype)), kind.shape)
        for name, kind in inputs.items()
    }
    for tensor in model.graph.initializer:
        if tensor.name in types:
            continue
        if largest is None or math.prod(tensor.dims) <= largest:
            graph.initializer.append(tensor)
        else:
            types[tensor.name] = tensor.data_type, tuple(tensor.dims)
    graph.input.extend(
        onnx.helper.make_tensor_value_info(name, *kind) for name, kind in types.items()
    )
    made = dict.fromkeys(value for node in nodes for value in node.output if value)
    graph.output.extend(onnx.ValueInfoProto(name=value) for value in made)
    return bare


def _nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Nodes and those in their branches and bodies."""
    for node in nodes:
        yield node
        for graph in subgraphs(node):
            yield from _nodes(graph.node)
