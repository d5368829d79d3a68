"""From a model file to a graph that is ready for the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx
import onnx.inliner

from mquans.errors import ModelError
from mquans.graph import Graph, ValueType, rewrite
from mquans.importers.half_precision import widen
from mquans.importers.island_merging import merge_islands
from mquans.importers.model_file import ModelFile
from mquans.importers.translation import Translation
from mquans.plan import NetworkOptions


def import_model(model: ModelFile, options: NetworkOptions | None = None) -> Graph:
    """Translate a model into the closed operator set and rewrite it.

    Args:
        model: from `read_model`.
        options: how it is to be run. Shapes are needed for dynamic dimensions other than the batch
            (which is 1 then), and may override what the model declares, since many declared
            shapes are leftovers of the export.

    Raises:
        ModelError: a dimension is not known, or the shapes do not fit the model's weights.
        UnsupportedOperatorError: an operator that neither the engine nor onnxruntime can run.
    """
    options = options or NetworkOptions()
    proto = prepare(model.proto())
    shapes = fix_shapes(model, proto, options.input_shapes)
    return merge_islands(rewrite(Translation(proto).run(model.name, shapes)))


def prepare(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model without local functions and half precision; it is not kept as it was."""
    if proto.functions:
        proto = onnx.inliner.inline_local_functions(proto)
    widen(proto.graph)
    return proto


def fix_shapes(
    model: ModelFile, proto: onnx.ModelProto, wanted: Mapping[str, Sequence[int]]
) -> dict[str, ValueType]:
    """Static types of all inputs that are fed per frame.

    Raises:
        ModelError: an unknown input name, a wrong number of dimensions or a missing one.
    """
    weights = {tensor.name for tensor in proto.graph.initializer}
    inputs = [value for value in proto.graph.input if value.name not in weights]
    names = [value.name for value in inputs]
    where = f"model {model.name!r}"
    for name in wanted:
        if name not in names:
            known = ", ".join(map(repr, names))
            raise ModelError(f"it has no input {name!r}; its inputs are {known}.", where=where)
    return {value.name: _fixed(value, wanted.get(value.name), where) for value in inputs}


def _fixed(value: onnx.ValueInfoProto, wanted: Sequence[int] | None, where: str) -> ValueType:
    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type"):
        raise ModelError(f"its input {value.name!r} is not a tensor.", where=where)
    dtype = str(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    dims = [dim.dim_value if dim.dim_value > 0 else None for dim in tensor.shape.dim]
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
        raise ModelError(
            f"the size of its input {value.name!r} [{text}] is not fixed in the file.",
            where=where,
            hint=f"Give it, for example: --input-shape {value.name}:1,3,H,W",
        )
    return ValueType(tuple(size for size in dims if size is not None), dtype)
