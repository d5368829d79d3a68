"""Evaluating nodes whose inputs are all known when the model is imported."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Container, Mapping, Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from mquans.errors import ModelError, UnsupportedOperatorError
from mquans.files import printable
from mquans.onnx.explanation import explained
from mquans.onnx.limits import HINT, Limits
from mquans.onnx.scopes import captured
from mquans.onnx.timed_run import OutOfTimeError, may_not_end, run_timed, shrinking_options

Array = npt.NDArray[np.generic]

RANDOM = frozenset({
    "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial",
    "Bernoulli",
})  # fmt: skip
"""Operators whose result differs from run to run."""

NO_TENSORS = frozenset({
    "SequenceEmpty", "SequenceConstruct", "SequenceInsert", "SequenceErase", "SplitToSequence",
    "SequenceMap", "Optional",
})  # fmt: skip
"""Operators whose result is no array."""

SMALL = 1024
"""Constants of up to so many numbers may be shapes, axes or other arguments of operators."""


OUT_OF_ARENA = "Available memory of"
"""What onnxruntime says where the bound on its memory is reached."""


def is_foldable(node: onnx.NodeProto, constants: Container[str]) -> bool:
    """True when a node's result is the same for every frame."""
    if node.op_type in RANDOM | NO_TENSORS or (node.op_type == "Dropout" and len(node.input) > 2):
        return False
    return all(value in constants for value in [*node.input, *captured(node)] if value)


def size_of(node: onnx.NodeProto, shape: tuple[int, ...]) -> Array | None:
    """What a Shape or Size makes of a value of this shape; None where a size is not known."""
    if -1 in shape:
        return None
    if node.op_type == "Size":
        return np.array(math.prod(shape), np.int64)
    attributes = {a.name: a.i for a in node.attribute}
    return np.array(shape[attributes.get("start", 0) : attributes.get("end")], np.int64)


def evaluate(
    node: onnx.NodeProto, constants: Mapping[str, Array], opsets: Mapping[str, int]
) -> list[Array]:
    """Outputs of a node whose inputs are constants, as onnxruntime computes them.

    Raises:
        ModelError: it is beyond the limits.
        UnsupportedOperatorError: onnxruntime cannot evaluate it.
    """
    if node.op_type == "Constant" and node.domain in ("", "ai.onnx"):
        return [_constant(node)]
    names = [value for value in dict.fromkeys([*node.input, *captured(node)]) if value]
    arrays = {name: constants[name] for name in names}
    # Larger arrays are fed: they are not copied into the model, and are no arguments of operators.
    # Of types that numpy does not know itself, such as integers of 4 bits, onnxruntime takes none.
    feeds = {name: a for name, a in arrays.items() if a.size > SMALL and _is_fed(a)}
    fixed = {name: a for name, a in arrays.items() if name not in feeds}
    kinds = {
        name: onnx.helper.make_tensor_type_proto(
            onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
        )
        for name, array in feeds.items()
    }
    outputs = [value for value in node.output if value]
    model = small_model([node], fixed, dict.fromkeys(outputs), opsets, kinds)
    limits = Limits.from_environment()
    where = f"node {printable(node.name or outputs[0])!r} ({node.op_type})"
    _check_size(node, model, arrays, limits, where)
    try:
        return _run(model, outputs, feeds, limits)
    except OutOfTimeError:
        raise ModelError(
            f"it takes longer than {limits.seconds:g} seconds to compute.", where=where, hint=HINT
        ) from None
    except Exception as error:
        if OUT_OF_ARENA in str(error):
            raise ModelError(
                "it takes too much memory to compute.", where=where, hint=HINT
            ) from None
        raise UnsupportedOperatorError(
            f"the operator {node.op_type} cannot be evaluated: {explained(error)}", where=where
        ) from None


def _is_fed(array: Array) -> bool:
    return array.dtype.isbuiltin == 1 and array.dtype != object


def _check_size(
    node: onnx.NodeProto,
    model: onnx.ModelProto,
    arrays: Mapping[str, Array],
    limits: Limits,
    where: str,
) -> None:
    """Refuses results that are too large, or too much work, before any of it is done."""
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception:
        return  # onnxruntime will say what is wrong with it
    for value in inferred.graph.output:
        sizes = tuple(int(dim.dim_value) for dim in value.type.tensor_type.shape.dim)
        limits.check_value(sizes, where)
        if math.prod(sizes) * _products(node, arrays) > limits.products:
            raise ModelError(
                f"it takes more than {limits.products} multiplications to compute.",
                where=where,
                hint=HINT,
            )


def _products(node: onnx.NodeProto, arrays: Mapping[str, Array]) -> int:
    """Multiplications per result; 1 where nothing is summed."""
    if node.op_type == "Conv":
        return math.prod(arrays[node.input[1]].shape[1:])
    if node.op_type == "ConvTranspose":
        return math.prod(arrays[node.input[1]].shape)
    if node.op_type in ("MatMul", "Gemm"):
        return max(arrays[node.input[0]].shape[-2:], default=1)
    kernels = [attribute.ints for attribute in node.attribute if attribute.name == "kernel_shape"]
    return math.prod(kernels[0]) if kernels else 1


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


def _run(
    model: onnx.ModelProto, outputs: list[str], feeds: dict[str, Array], limits: Limits
) -> list[Array]:
    """Outputs as onnxruntime computes them, in bounded memory and, if it loops, time."""
    import onnxruntime

    _bound_memory()
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.use_env_allocators", "1")
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    if may_not_end(model):
        return list(map(np.asarray, run_timed(session, outputs, feeds, limits.seconds)))
    return list(map(np.asarray, session.run(outputs, feeds, shrinking_options())))


@cache
def _bound_memory() -> None:
    """Bounds what sessions that ask for it may take together; for good, so never below the
    default."""
    import onnxruntime as ort

    largest = max(Limits().value, Limits.from_environment().value)

    memory = ort.OrtMemoryInfo(
        "Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT
    )
    same_as_requested = 1
    arena = ort.OrtArenaCfg({"max_mem": 4 * largest, "arena_extend_strategy": same_as_requested})
    with contextlib.suppress(Exception):  # the program has registered its own
        ort.create_and_register_allocator(memory, arena)


def _constant(node: onnx.NodeProto) -> Array:
    attribute = node.attribute[0]
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    kinds = {"value_float": np.float32, "value_floats": np.float32}
    if attribute.name in ("value_string", "value_strings"):
        return np.array(value, dtype=object)
    return np.array(value, kinds.get(attribute.name, np.int64))
