"""Taking the branches of a model whose condition is known, in the ONNX model itself.

Engines get the model without them: onnxruntime 1.32 crashes on nested branches that it inlines, and
its quantizer leaves the layers inside alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx
from onnx import numpy_helper

from mquans.onnx.input_shapes import fed_inputs, fix_shapes
from mquans.onnx.preparation import prepare
from mquans.onnx.scopes import replace_nodes
from mquans.onnx.translation import Translation


def flatten(
    proto: onnx.ModelProto, name: str, input_shapes: Mapping[str, Sequence[int]]
) -> tuple[onnx.ModelProto, Translation]:
    """The model with its known branches in place, and what was learned of it on the way.

    Args:
        proto: not kept as it was.
        name: of the model, for messages.
        input_shapes: that the user gives; names of other values are ignored.

    Raises:
        ModelError, UnsupportedOperatorError: as `import_model`.
    """
    proto = prepare(proto)
    known = {value.name for value in fed_inputs(proto)}
    wanted = {value: shape for value, shape in input_shapes.items() if value in known}
    translation = Translation(proto)
    translation.run(name, fix_shapes(proto, wanted, f"model {name!r}"))
    replace_nodes(proto.graph, translation.flat)
    proto.graph.initializer.extend(
        numpy_helper.from_array(array, value)
        for value, array in translation.branch_constants.items()
    )
    return proto, translation


def has_branches(proto: onnx.ModelProto) -> bool:
    """True when a model has an If among its own nodes."""
    return any(node.op_type == "If" for node in proto.graph.node)
