"""What is done to every ONNX model before it is translated."""

from __future__ import annotations

import onnx
import onnx.inliner

from mquans.onnx.half_precision import to_float32
from mquans.onnx.node_order import sort_nodes
from mquans.onnx.sparse_weights import to_dense


def prepare(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model without local functions, sparse weights and half precision, its nodes in order.

    Args:
        proto: not kept as it was.
    """
    if proto.functions:
        proto = onnx.inliner.inline_local_functions(proto)
    to_dense(proto.graph)
    to_float32(proto.graph)
    sort_nodes(proto.graph)
    return proto
