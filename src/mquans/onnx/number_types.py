"""Which operators may work on integers that are computed in float32, and what types they make."""

from __future__ import annotations

from collections.abc import Callable

import onnx

from mquans.onnx.rules import logic, quantized

FLOATS = ("float32", "float64")

BOOLEAN = frozenset(logic.RULES.keys() - {"Where"})
"""Operators that make values of bool."""

QUANTIZED = quantized.RULES.keys() | quantized.MICROSOFT.keys()

EXACT = frozenset({
    *BOOLEAN, *QUANTIZED, "Abs", "Cast", "CastLike", "Clip", "Concat", "DepthToSpace", "Dropout",
    "Expand", "Flatten", "Gather", "Identity", "Max", "MaxPool", "Min", "Optional",
    "OptionalGetElement", "Pad", "Relu", "Reshape", "Resize", "Slice", "SpaceToDepth", "Split",
    "Squeeze", "Tile", "Transpose", "Unsqueeze", "Where",
})  # fmt: skip
"""Operators whose results in float32 are those in integers, for integers that float32 holds."""

MOVED = frozenset({
    "Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "MaxPool", "Optional",
    "OptionalGetElement", "Reshape", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile",
    "Transpose", "Unsqueeze",
})  # fmt: skip
"""Operators that do the same to codes and to what they stand for, and make no new numbers."""

ON_GRID = MOVED | QUANTIZED | {"Pad", "Resize"}
"""Operators whose rules know what codes stand for."""


def result_type(node: onnx.NodeProto, dtype: Callable[[str], str]) -> str:
    """Type that the model gives the outputs of a node.

    Args:
        dtype: of a value that it reads.
    """
    if node.op_type == "Cast":
        return str(onnx.helper.tensor_dtype_to_np_dtype(node.attribute[0].i))
    if node.op_type in BOOLEAN:
        return "bool"
    if node.op_type in ("CastLike", "Where"):
        return dtype(node.input[1])
    return next(dtype(value) for value in node.input if value)
