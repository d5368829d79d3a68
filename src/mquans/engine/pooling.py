"""Maxima on the grid: a pool that only reuse layers read, behind a layer that only the pool reads.

Rounding is monotonous, so the maximum of grid codes is the code of the maximum. The layer then
writes codes of half the size of floats, and their maxima are compared at once with what is held.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mquans import _native
from mquans.engine import layout
from mquans.engine.layout import Dims, Placed
from mquans.graph import Conv, ConvTranspose, Graph, Linear, Node, Pool, Unary

if TYPE_CHECKING:
    from mquans.engine.lowering import Lowering


def layer_output(low: Lowering, node: Node, order: Dims) -> Placed:
    """Where a reuse layer writes to: floats, codes, or nowhere where its readers take them."""
    value = node.outputs[0]
    if not _is_pooled_on_grid(low, node, order):
        return low.new(value, order, stored=not low.goes_on_grids(value, order))
    dims = layout.apply(order, low.graph.shape(value))
    low.placed[value] = Placed(low.program.add_codes(*layout.pixels(dims)), order, dims)
    low.codes.add(value)
    return low.placed[value]


def add_largest(low: Lowering, node: Node, op: Pool) -> None:
    """The maximum of codes, on the grid of the layers behind it."""
    x = low.placed[node.inputs[0]]
    y = low.new(node.outputs[0], x.order, stored=False)
    reader = low.graph.consumers()[node.outputs[0]][0]
    layer, neurons = low.plan.layer(reader.name), low.graph.neurons(reader)
    quantized = low.quantize(y, layer, neurons, driven=True, pooled=x.tensor)
    space = len(op.kernel)
    _native.add_largest(
        low.program, node.name, x.dims, op.kernel, op.strides, op.pads[:space], op.pads[space:],
        op.dilations, quantized, y.dims,
    )  # fmt: skip


def is_depthwise(graph: Graph, layer: Node) -> bool:
    """One input and one output per group."""
    op = layer.op
    return (
        isinstance(op, Conv | ConvTranspose)
        and op.groups > 1
        and op.groups == graph.neurons(layer) == graph.shape(layer.outputs[0])[1]
    )


def _is_pooled_on_grid(low: Lowering, node: Node, order: Dims) -> bool:
    graph, value = low.graph, node.outputs[0]
    readers = graph.consumers().get(value, [])
    if value in graph.outputs or len(readers) != 1 or not _clamps(node):
        return False
    pool, pooled = readers[0].op, readers[0].outputs[0]
    layers = graph.consumers().get(pooled, [])
    return (
        isinstance(pool, Pool)
        and pool.kind == "max"
        and _has_one_group(graph, node)
        and bool(layers)
        and low.goes_on_grids(pooled, order)
        and all(_has_one_group(graph, layer) for layer in layers)
        and len({_grid(low, layer) for layer in layers}) == 1
    )


def _grid(low: Lowering, layer: Node) -> tuple[bytes, bytes]:
    """(steps, deltas) of a layer's input."""
    step, delta = low.grid(low.plan.layer(layer.name), low.graph.neurons(layer))
    return step.tobytes(), delta.tobytes()


def _has_one_group(graph: Graph, layer: Node) -> bool:
    """As the engine lays out accumulators and lists: depthwise layers count as one."""
    op = layer.op
    return isinstance(op, Linear) or getattr(op, "groups", 1) == 1 or is_depthwise(graph, layer)


def _clamps(layer: Node) -> bool:
    """The activation is a clamp, which codes are made with (`CodesArgs`)."""
    op = layer.op
    if not isinstance(op, Conv | ConvTranspose):
        return False
    activation: Unary | None = op.activation
    return activation is None or activation.kind in ("relu", "clip")
