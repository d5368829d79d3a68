"""Operators between layers as steps over codes; `forms` says which."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mquans.graph import (
    Binary,
    Concat,
    Gather,
    Node,
    Pad,
    Pool,
    Reduce,
    Resize,
    Slice,
    Unary,
)
from mquans.runtime.lowering.sites.combining import add_binary, add_unary
from mquans.runtime.lowering.sites.layers import add_site_layer
from mquans.runtime.lowering.sites.moving import add_concat, add_move
from mquans.runtime.lowering.sites.quantized import add_whole_step
from mquans.runtime.lowering.sites.windows import add_linear_resize, add_pool, add_reduce

if TYPE_CHECKING:
    from mquans.runtime.lowering.program import Lowering


def add_site_node(low: Lowering, node: Node) -> None:
    """The native steps of a node that is computed on codes."""
    if node.name in low.sites.fused:
        return
    step = low.sites.analysis.steps.get(node.outputs[0])
    match node.op:
        case _ if step is not None:
            add_whole_step(low, node, step)
        case Unary():
            add_unary(low, node, node.op)
        case Binary():
            add_binary(low, node, node.op)
        case Concat():
            add_concat(low, node)
        case Resize(mode="linear"):
            add_linear_resize(low, node, node.op)
        case Slice() | Gather() | Pad() | Resize():
            add_move(low, node)
        case Pool():
            add_pool(low, node, node.op)
        case Reduce():
            add_reduce(low, node, node.op)
        case _:
            add_site_layer(low, node)
