"""A model made as easy as possible for engines to optimise: fixed shapes, constant weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mquans.errors import ModelError

if TYPE_CHECKING:
    from mquans.importers.model_file import ModelFile


def with_fixed_shapes(model: ModelFile, input_shapes: Mapping[str, Sequence[int]]) -> bytes:
    """The model's bytes, weights included, with the given input shapes.

    Shapes that the file declares for other values are dropped: they belong to the declared input
    shapes and mislead engines when these change. Weights that the file lists as inputs, as old
    exporters do, become constants: engines cannot fold them otherwise, and would be measured
    below what they can do.

    Raises:
        ModelError: an input has no shape, or a shape is for no input.
    """
    proto = model.proto()
    graph = proto.graph
    weights = {tensor.name for tensor in graph.initializer}
    weights |= {tensor.values.name for tensor in graph.sparse_initializer}
    fed = [value for value in graph.input if value.name not in weights]
    if {value.name for value in fed} != set(input_shapes):
        raise ModelError(
            f"shapes were given for {sorted(input_shapes)}, but the inputs are "
            f"{sorted(value.name for value in fed)}.",
            where=f"model {model.name!r}",
        )
    for value in [value for value in graph.input if value.name in weights]:
        graph.input.remove(value)
    proto.ir_version = max(proto.ir_version, 4)  # the first in which weights need not be inputs
    for value in fed:
        dims = value.type.tensor_type.shape.dim
        del dims[:]
        for size in input_shapes[value.name]:
            dims.add(dim_value=size)
    for value in graph.output:
        for dim in value.type.tensor_type.shape.dim:
            dim.Clear()  # unknown; the number of axes stays, as the format demands
    del graph.value_info[:]
    try:
        data: bytes = proto.SerializeToString()
    except ValueError as error:  # protobuf's limit of 2 GiB
        raise ModelError(
            "the model with its weights is larger than an ONNX file may be.",
            where=f"model {model.name!r}",
        ) from error
    return data
