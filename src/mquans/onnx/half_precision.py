"""Half precision models: read as float32 ones.

Graphs compute in float32. Weights of float16 and bfloat16 are exact in it, so a converted model
gives the same results with less rounding; its inputs and outputs become float32 too.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

HALVES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)

TYPE_ATTRIBUTES = ("to", "dtype")
"""Attributes that hold an element type (Cast, EyeLike, random generators)."""


def widen(graph: onnx.GraphProto) -> None:
    """Turn all half precision tensors and types of a graph and its subgraphs into float32 ones."""
    for tensor in graph.initializer:
        _widen_tensor(tensor)
    for value in [*graph.input, *graph.output, *graph.value_info]:
        if value.type.tensor_type.elem_type in HALVES:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name in TYPE_ATTRIBUTES and attribute.i in HALVES:
                attribute.i = TensorProto.FLOAT
            if attribute.HasField("t"):
                _widen_tensor(attribute.t)
            if attribute.HasField("g"):
                widen(attribute.g)
            for subgraph in attribute.graphs:
                widen(subgraph)


def _widen_tensor(tensor: onnx.TensorProto) -> None:
    if tensor.data_type in HALVES:
        array = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
