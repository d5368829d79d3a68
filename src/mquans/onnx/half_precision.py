"""Models in half or double precision: read as float32 ones.

Graphs compute in float32. Weights of float16 and bfloat16 are exact in it, so a converted model
gives the same results with less rounding.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

HALVES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
OTHER_FLOATS = (*HALVES, TensorProto.DOUBLE)

TYPE_ATTRIBUTES = ("to", "dtype")
"""Attributes that hold an element type (Cast, EyeLike, random generators)."""


def half_values(graph: onnx.GraphProto) -> dict[str, str]:
    """Types of the inputs and outputs of a graph that are of float16. numpy has no bfloat16: what
    is declared so goes in and out as float32."""
    values = [*graph.input, *graph.output]
    halves = [v for v in values if v.type.tensor_type.elem_type == TensorProto.FLOAT16]
    return {value.name: "float16" for value in halves}


def is_double(value: onnx.ValueInfoProto) -> bool:
    """True for a value that is declared as float64."""
    return bool(value.type.tensor_type.elem_type == TensorProto.DOUBLE)


def to_float32(graph: onnx.GraphProto, kinds: Collection[int] = HALVES) -> None:
    """Turn all tensors and types of these kinds, in a graph and its subgraphs, into float32."""
    for tensor in graph.initializer:
        _convert(tensor, kinds)
    for value in [*graph.input, *graph.output, *graph.value_info]:
        if value.type.tensor_type.elem_type in kinds:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name in TYPE_ATTRIBUTES and attribute.i in kinds:
                attribute.i = TensorProto.FLOAT
            if attribute.HasField("t"):
                _convert(attribute.t, kinds)
            if attribute.HasField("g"):
                to_float32(attribute.g, kinds)
            for subgraph in attribute.graphs:
                to_float32(subgraph, kinds)


def _convert(tensor: onnx.TensorProto, kinds: Collection[int]) -> None:
    if tensor.data_type in kinds:
        array = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
