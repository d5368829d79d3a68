"""Fallback subgraphs: nodes that only onnxruntime can run, wrapped as small models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import onnx
import onnx.shape_inference
import onnx.version_converter

from mquans.errors import UnsupportedOperatorError
from mquans.graph import Fallback, Node, ValueType
from mquans.onnx.explanation import explained
from mquans.onnx.fallback_macs import macs_of
from mquans.onnx.folding import small_model
from mquans.onnx.model_file import default_opset
from mquans.onnx.scopes import captured, rename
from mquans.onnx.structure import subgraphs

if TYPE_CHECKING:
    import onnxruntime

    from mquans.onnx.grids import Grid

OPAQUE = "sequence"
"""dtype of values that are no tensors; they never leave a fallback subgraph."""

UNKNOWN = (-1,)
"""Shape of values of unknown rank, or of one axis of unknown size."""


def fallback_node(
    proto: onnx.NodeProto,
    name: str,
    reason: str,
    *,
    opsets: Mapping[str, int],
    types: Mapping[str, ValueType],
    constants: Mapping[str, npt.NDArray[np.generic]],
    dtypes: Mapping[str, str],
    grids: Mapping[str, Grid],
) -> tuple[Node, dict[str, ValueType]]:
    """One ONNX node as a fallback subgraph, and the types of its outputs as onnxruntime infers
    them; doubles leave it as float32.

    Args:
        types, constants: of the values that the node may read.
        dtypes: of values that the node expects in another type than they are computed in.
        grids: of values that are computed as what their codes stand for.

    Raises:
        UnsupportedOperatorError: onnxruntime cannot run the operator.
    """
    read = [value for value in dict.fromkeys([*proto.input, *captured(proto)]) if value]
    outputs = [value for value in proto.output if value]
    inputs = {value: type_proto(types[value]) for value in read if value in types}
    typed = {value: f"{value}/{dtypes[value]}" for value in inputs if value in dtypes}
    known = {value: constants[value] for value in read if value in constants}
    casts = []
    for value, label in typed.items():
        if (grid := grids.get(value)) is None:
            casts.append(_cast(value, label, dtypes[value]))
            continue
        scale, zero = f"{label}/scale", f"{label}/zero"
        known |= {scale: np.array(grid.scale, np.float32), zero: np.array(grid.zero, grid.dtype)}
        casts.append(onnx.helper.make_node("QuantizeLinear", [value, scale, zero], [label]))
    body = onnx.NodeProto()
    body.CopyFrom(proto)
    rename(body, typed)
    model = small_model(
        [*casts, body],
        known,
        dict.fromkeys(outputs),
        opsets,
        inputs,
    )
    found = _output_types(model, proto, name)
    if any(kind.dtype == "string" for kind in found.values()):
        raise UnsupportedOperatorError(
            "it makes strings, and what a network computes are numbers here.",
            where=f"node {name!r} ({proto.op_type})",
            hint="Export the model without it, and turn its numbers into words afterwards.",
        )
    doubles = {value: f"{value}/double" for value in outputs if is_narrowed(found[value])}
    rename(model.graph.node[-1], doubles)
    model.graph.node.extend(_cast(double, value, "float32") for value, double in doubles.items())
    for value in model.graph.output:
        kind = found[value.name]
        value.type.CopyFrom(type_proto(ValueType(kind.shape) if is_narrowed(kind) else kind))

    def shape(value: str) -> tuple[int, ...]:
        constant = constants.get(value)
        return constant.shape if constant is not None else (found.get(value) or types[value]).shape

    op = Fallback(model.SerializeToString(), (proto.op_type,), reason, macs_of(proto, shape))
    return Node(name, op, tuple(inputs), tuple(outputs)), found


def is_narrowed(kind: ValueType) -> bool:
    """True for what a fallback subgraph makes in double precision and the engine goes on with in
    float32."""
    return kind.dtype == "float64" and -1 not in kind.shape


def _cast(value: str, result: str, dtype: str) -> onnx.NodeProto:
    code = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return onnx.helper.make_node("Cast", [value], [result], to=code)


def _output_types(model: onnx.ModelProto, proto: onnx.NodeProto, name: str) -> dict[str, ValueType]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        operator = f"{proto.domain}.{proto.op_type}" if proto.domain else proto.op_type
        raise UnsupportedOperatorError(
            f"neither mquans nor onnxruntime can run the operator {operator}: {explained(error)}",
            where=f"node {name!r}",
            hint="Export the model without it.",
        ) from None
    scalars = _known_scalars(model)
    return {
        value.name: _value_type(value, value.name in scalars) for value in session.get_outputs()
    }


def _known_scalars(model: onnx.ModelProto) -> set[str]:
    """Outputs that are scalars for certain; onnxruntime reports an unknown rank in the same way."""
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    tensors = {value.name: value.type.tensor_type for value in inferred.graph.output}
    return {
        name
        for name, tensor in tensors.items()
        if tensor.HasField("shape") and not tensor.shape.dim
    }


def upgraded(model: onnx.ModelProto, opset: int, name: str) -> onnx.ModelProto:
    """a fallback subgraph's model in a newer standard operator set.

    Raises:
        UnsupportedOperatorError: onnx has no conversion for one of its operators.
    """
    given = default_opset(model)
    if given == opset:
        return model
    if all(_is_the_same(node, given, opset) for node in model.graph.node):
        newer = onnx.ModelProto()
        newer.CopyFrom(model)
        for entry in newer.opset_import:
            if entry.domain in ("", "ai.onnx"):
                entry.version = opset
        return newer
    try:
        return onnx.version_converter.convert_version(model, opset)
    except Exception as error:
        raise UnsupportedOperatorError(
            f"it cannot be written in ONNX opset {opset}: {error}",
            where=f"node {name!r}",
            hint="Export the model with a newer opset.",
        ) from None


def _is_the_same(node: onnx.NodeProto, opset: int, newer: int) -> bool:
    """Whether an operator did not change; what onnxruntime adds to the standard set never does,
    and is unknown to the converter."""
    if node.domain not in ("", "ai.onnx") or not onnx.defs.has(node.op_type):
        return True
    versions = {onnx.defs.get_schema(node.op_type, at).since_version for at in (opset, newer)}
    return len(versions) == 1 and not subgraphs(node)


def type_proto(kind: ValueType) -> onnx.TypeProto:
    """The type as ONNX writes it; sizes of -1 are left open."""
    if kind.dtype == OPAQUE:
        # The element type matters little: onnxruntime checks it against the producer when merged.
        tensor = onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, None)
        return onnx.helper.make_sequence_type_proto(tensor)
    code = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(kind.dtype))
    if kind.shape == UNKNOWN:
        return onnx.helper.make_tensor_type_proto(code, None)
    shape = [None if size < 0 else size for size in kind.shape]
    return onnx.helper.make_tensor_type_proto(code, shape)


def _value_type(value: onnxruntime.NodeArg, is_scalar: bool) -> ValueType:
    if not value.type.startswith("tensor("):
        return ValueType((), OPAQUE)
    dtype = value.type[len("tensor(") : -1]
    dtype = {"float": "float32", "double": "float64"}.get(dtype, dtype)
    if not value.shape and not is_scalar:
        return ValueType(UNKNOWN, dtype)
    return ValueType(tuple(size if isinstance(size, int) else -1 for size in value.shape), dtype)
