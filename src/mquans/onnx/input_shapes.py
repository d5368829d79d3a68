"""Static types of the inputs that are fed per frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx

from mquans.errors import ModelError
from mquans.graph import ValueType

NUMBERS = frozenset({
    "float16", "bfloat16", "float32", "float64", "bool", "int8", "int16", "int32", "int64", "uint8",
    "uint16", "uint32", "uint64",
})  # fmt: skip
"""Types that an input may have."""


def fed_inputs(proto: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """The inputs of a model without the weights that old exporters list among them."""
    weights = {tensor.name for tensor in proto.graph.initializer}
    weights |= {tensor.values.name for tensor in proto.graph.sparse_initializer}
    return [value for value in proto.graph.input if value.name not in weights]


def fix_shapes(
    proto: onnx.ModelProto, wanted: Mapping[str, Sequence[int]], where: str
) -> dict[str, ValueType]:
    """Static types of all inputs that are fed per frame.

    A dimension that has a name has one size, wherever the name stands.

    Args:
        wanted: shapes that the user gives.
        where: the model, for messages.

    Raises:
        ModelError: an unknown input name, a wrong number of dimensions or a missing one.
    """
    inputs = fed_inputs(proto)
    names = [value.name for value in inputs]
    for name in wanted:
        if name not in names:
            known = ", ".join(map(repr, names))
            raise ModelError(f"it has no input {name!r}; its inputs are {known}.", where=where)
    sizes = {
        dim.dim_param: size
        for value in inputs
        for dim, size in zip(
            value.type.tensor_type.shape.dim, wanted.get(value.name, ()), strict=False
        )
        if dim.dim_param
    }
    return {value.name: fixed_type(value, wanted.get(value.name), sizes, where) for value in inputs}


def fixed_type(
    value: onnx.ValueInfoProto, wanted: Sequence[int] | None, sizes: Mapping[str, int], where: str
) -> ValueType:
    """Static type of one input.

    Args:
        wanted: the shape that the user gives, if any.
        sizes: of dimensions by their names.
        where: the model, for messages.

    Raises:
        ModelError: a wrong number of dimensions or a missing one, or it is not a tensor.
    """
    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type"):
        raise ModelError(f"its input {value.name!r} is not a tensor.", where=where)
    dtype = str(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    if dtype not in NUMBERS:
        kind = "strings" if tensor.elem_type == onnx.TensorProto.STRING else dtype
        raise ModelError(
            f"its input {value.name!r} takes {kind}; frames are numbers.",
            where=where,
            hint="Export it without this input, or with one of a plain number type.",
        )
    # Some exporters write -1 for a size that is not fixed.
    dims = [max(dim.dim_value, 0) or sizes.get(dim.dim_param) for dim in tensor.shape.dim]
    if wanted is not None:
        shape = tuple(int(size) for size in wanted)
        if tensor.HasField("shape") and len(shape) != len(dims):
            raise ModelError(
                f"its input {value.name!r} has {len(dims)} dimensions, but {list(shape)} has "
                f"{len(shape)}.",
                where=where,
            )
        if min(shape, default=1) < 1:
            raise ModelError(f"the shape {list(shape)} of {value.name!r} is empty.", where=where)
        return ValueType(shape, dtype)
    if dims and dims[0] is None:
        dims[0] = 1
    if None in dims or not tensor.HasField("shape"):
        text = ",".join("?" if size is None else str(size) for size in dims)
        example = "1,3,H,W" if len(dims) in (0, 4) else text.replace("?", "N")
        raise ModelError(
            f"the size of its input {value.name!r} [{text}] is not fixed in the file.",
            where=where,
            hint=f"Give it, for example: --input-shape {value.name}:{example}",
        )
    return ValueType(tuple(size for size in dims if size is not None), dtype)
