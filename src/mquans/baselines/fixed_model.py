"""A model made as easy as possible for engines to optimise: fixed shapes, constant weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mquans.errors import ModelError

if TYPE_CHECKING:
    from mquans.onnx.model_file import ModelFile
    from mquans.plan import NetworkOptions


def fixed_model(model: ModelFile, options: NetworkOptions) -> tuple[bytes, dict[str, str]]:
    """The model as the options say, weights included, with the shapes of all inputs.

    Shapes that the file declares for other values are dropped: they belong to the declared input
    shapes and mislead engines when these change. Weights that the file lists as inputs, as old
    exporters do, become constants: engines cannot fold them otherwise, and would be measured
    below what they can do. Branches whose condition is known are taken. Floats of other widths
    become float32, in which our engine computes too and for which engines have all operators;
    doubles only where frames are such, since arithmetic on shapes may be in doubles.

    Returns:
        bytes of an ONNX file, and its state inputs by the output that feeds them.

    Raises:
        ModelError: an input has no shape, or a shape is for no input; or the options do not fit.
    """
    # Loaded by need: they import onnx.
    from mquans.onnx.applied_options import apply_options
    from mquans.onnx.flattening import flatten, has_branches
    from mquans.onnx.half_precision import HALVES, OTHER_FLOATS, is_double, to_float32
    from mquans.onnx.input_shapes import fed_inputs
    from mquans.onnx.node_order import sort_nodes

    proto, feedback = apply_options(model, options)
    fed = fed_inputs(proto)
    shapes = {name: s for name, s in options.input_shapes.items() if name not in options.constants}
    if {value.name for value in fed} != set(shapes):
        raise ModelError(
            f"shapes were given for {sorted(shapes)}, but the inputs are "
            f"{sorted(value.name for value in fed)}.",
            where=f"model {model.name!r}",
        )
    if has_branches(proto):
        proto, _ = flatten(proto, model.name, shapes)
    graph = proto.graph
    to_float32(graph, OTHER_FLOATS if any(map(is_double, fed)) else HALVES)
    sort_nodes(graph)
    names = {value.name for value in fed}
    for value in [value for value in graph.input if value.name not in names]:
        graph.input.remove(value)
    proto.ir_version = max(proto.ir_version, 4)  # the first in which weights need not be inputs
    for value in graph.input:
        dims = value.type.tensor_type.shape.dim
        del dims[:]
        for size in shapes[value.name]:
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
    return data, feedback


def recurrent_layers(data: bytes) -> list[str]:
    """Recurrent operators of an ONNX file, once each."""
    import onnx

    found = {node.op_type for node in onnx.load_model_from_string(data).graph.node}
    return [kind for kind in ("LSTM", "GRU", "RNN") if kind in found]
