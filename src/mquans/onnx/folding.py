"""Evaluating nodes whose inputs are all known when the model is imported."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from mquans.errors import UnsupportedOperatorError
from mquans.onnx.scopes import captured

Array = npt.NDArray[np.generic]

RANDOM = frozenset({
    "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial",
    "Bernoulli",
})  # fmt: skip
"""Operators whose result differs from run to run."""


def is_foldable(node: onnx.NodeProto, constants: Container[str]) -> bool:
    """True when a node's result is the same for every frame."""
    if node.op_type in RANDOM or (node.op_type == "Dropout" and len(node.input) > 2):
        return False
    return all(value in constants for value in [*node.input, *captured(node)] if value)


def evaluate(
    node: onnx.NodeProto, constants: Mapping[str, Array], opsets: Mapping[str, int]
) -> list[Array]:
    """Outputs of a node whose inputs are constants, as onnxruntime computes them.

    Raises:
        UnsupportedOperatorError: neither onnxruntime nor onnx can evaluate it.
    """
    if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
        return [_constant(node)]
    names = [value for value in dict.fromkeys([*node.input, *captured(node)]) if value]
    feeds = {name: constants[name] for name in names}
    outputs = [value for value in node.output if value]
    model = small_model([node], feeds, dict.fromkeys(outputs), opsets)
    try:
        return _by_onnxruntime(model, outputs)
    except Exception as first:
        try:
            return _by_reference(model, outputs)
        except Exception:
            raise UnsupportedOperatorError(
                f"the operator {node.op_type} cannot be evaluated: {first}",
                where=f"node {node.name or outputs[0]!r}",
            ) from None


def small_model(
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, Array],
    outputs: Mapping[str, onnx.TypeProto | None],
    opsets: Mapping[str, int],
    inputs: Mapping[str, onnx.TypeProto] | None = None,
) -> onnx.ModelProto:
    """A model of few nodes with some of their inputs as initializers.

    Args:
        outputs: types by name; None where they are to be found out.
        inputs: types of the values that are fed.
    """
    graph = onnx.helper.make_graph(
        nodes,
        "small",
        [onnx.ValueInfoProto(name=name, type=kind) for name, kind in (inputs or {}).items()],
        [onnx.ValueInfoProto(name=name, type=kind) for name, kind in outputs.items()],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()],
    )
    imports = [
        onnx.helper.make_opsetid("" if domain == "ai.onnx" else domain, version)
        for domain, version in opsets.items()
    ]
    return onnx.helper.make_model(graph, opset_imports=imports, ir_version=IR_VERSION)


IR_VERSION = 10
"""New enough for opset 21 and every type in use, old enough for onnxruntime 1.18."""


def _by_onnxruntime(model: onnx.ModelProto, outputs: list[str]) -> list[Array]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return [np.asarray(array) for array in session.run(outputs, {})]


def _by_reference(model: onnx.ModelProto, outputs: list[str]) -> list[Array]:
    from onnx.reference import ReferenceEvaluator

    return [np.asarray(array) for array in ReferenceEvaluator(model).run(outputs, {})]


def _constant(node: onnx.NodeProto) -> Array:
    attribute = node.attribute[0]
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    kinds = {"value_float": np.float32, "value_floats": np.float32}
    if attribute.name in ("value_string", "value_strings"):
        return np.array(value, dtype=object)
    return np.array(value, kinds.get(attribute.name, np.int64))
