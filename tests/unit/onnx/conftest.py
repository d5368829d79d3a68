"""Small ONNX models, and the comparison that every importer rule must pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from mquans.graph import Graph
from mquans.onnx import import_model, read_model, to_onnx
from mquans.plan import NetworkOptions
from mquans.runtime.reference.interpreter import ReferenceNetwork

NEWEST = onnx.defs.onnx_opset_version()

Check = Callable[..., Graph]


def build(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Sequence[Any]],
    outputs: Sequence[str],
    constants: Mapping[str, Any] | None = None,
    *,
    opset: int = 17,
) -> onnx.ModelProto:
    """A model from nodes; float arrays become float32, integers int64."""
    arrays = {}
    for name, value in (constants or {}).items():
        array = np.asarray(value)
        arrays[name] = array.astype(np.float32) if array.dtype == np.float64 else array
    graph = onnx.helper.make_graph(
        list(nodes),
        "small",
        [
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, list(shape))
            for name, shape in inputs.items()
        ],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    imports = [onnx.helper.make_opsetid("", opset)]
    return onnx.helper.make_model(graph, opset_imports=imports, ir_version=8)


def op(kind: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    """A node; inputs and outputs are separated by blanks, '-' is an absent input."""
    names = ["" if name == "-" else name for name in inputs.split()]
    return onnx.helper.make_node(kind, names, outputs.split(), **attributes)


def run_onnxruntime(
    model: onnx.ModelProto, feeds: Mapping[str, Any], outputs: Sequence[str]
) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(list(outputs), dict(feeds))


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    """Squared error over squared size."""
    difference = np.asarray(found, np.float64) - expected
    return float(np.square(difference).sum() / (np.square(expected).sum() + 1e-12))


@pytest.fixture
def check() -> Check:
    """Import a model and compare it with onnxruntime on random input, twice: as the float oracle
    computes the graph, and as onnxruntime computes the graph written back to ONNX."""

    def compare(
        model: onnx.ModelProto,
        *,
        scale: float = 2.0,
        shapes: Mapping[str, Sequence[int]] | None = None,
        feeds: Mapping[str, np.ndarray] | None = None,
        fallbacks: bool = False,
    ) -> Graph:
        graph = import_model(read_model(model), NetworkOptions(shapes or {}))
        random = np.random.default_rng(7)
        feeds = feeds or {
            name: (random.normal(size=graph.shape(name)) * scale).astype(np.float32)
            for name in graph.inputs
        }
        expected = run_onnxruntime(model, feeds, graph.outputs)
        found = ReferenceNetwork(graph).run(feeds)
        floats = {name: np.asarray(x, graph.types[name].dtype) for name, x in feeds.items()}
        written = run_onnxruntime(to_onnx(graph), floats, graph.outputs)
        for name, reference, again in zip(graph.outputs, expected, written, strict=True):
            assert found[name].shape == reference.shape
            assert again.shape == reference.shape
            if -1 not in graph.shape(name):
                assert graph.shape(name) == reference.shape
            assert relative_error(found[name], reference) < 1e-10
            assert relative_error(again, reference) < 1e-10
        if not fallbacks:
            assert kinds(graph).count("Fallback") == 0
        return graph

    return compare


def kinds(graph: Graph) -> list[str]:
    """Operator of every node, in order; the kind of elementwise ones."""
    names = []
    for node in graph.nodes:
        kind = getattr(node.op, "kind", None)
        names.append(f"{type(node.op).__name__}" + (f":{kind}" if kind else ""))
    return names


def values(seed: int, *shape: int) -> np.ndarray:
    """Fixed random weights."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32) * 0.5
