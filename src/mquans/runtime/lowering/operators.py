"""Native steps of the operators that are not reuse layers: logical axes become physical ones."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, get_args

import numpy as np

from mquans import _native
from mquans.errors import UnsupportedOperatorError
from mquans.graph import (
    Binary,
    Concat,
    Expand,
    Gather,
    Graph,
    LayerNorm,
    MatMul,
    Node,
    Pad,
    Pool,
    Reduce,
    Reshape,
    Resize,
    Slice,
    Softmax,
    Transpose,
    Unary,
)
from mquans.graph.operators import BinaryKind, ReduceKind, UnaryKind
from mquans.runtime.lowering import layout
from mquans.runtime.lowering.geometry import resize_table
from mquans.runtime.lowering.layout import Dims, Placed
from mquans.runtime.lowering.norms import add_pixel_norm
from mquans.runtime.lowering.sites.arithmetic import Reals
from mquans.runtime.lowering.windows import add_windows

if TYPE_CHECKING:
    from mquans.runtime.lowering.program import Lowering

UNARY_KINDS: tuple[UnaryKind, ...] = get_args(UnaryKind)
BINARY_KINDS: tuple[BinaryKind, ...] = get_args(BinaryKind)
REDUCE_KINDS: tuple[ReduceKind, ...] = get_args(ReduceKind)
POOL_KINDS = ("max", "average")
PAD_MODES = ("constant", "reflect", "edge")
"""The native enumerations follow these orders."""


def add_operator(low: Lowering, node: Node) -> None:
    """Adds the steps of one native operator and places its output."""
    x, y = node.inputs[0], node.outputs[0]
    shape = low.graph.shape(x)
    match node.op:
        case Binary():
            if not add_scaled_codes(low, node):
                _binary(low, node, node.op)
        case Concat():
            _concat(low, node, node.op)
        case Slice():
            _slice(low, node, node.op)
        case Reshape() | LayerNorm() if y in low.norms and add_pixel_norm(low, y, low.norms[y]):
            pass
        case Reshape() if y in low.windows:
            add_windows(low, y, low.windows[y])
        case Gather() if x in low.joined:
            _select(low, node, node.op)
        case Gather():
            a = low.in_order(x, low.order_of(x))
            out = low.new(y, a.order)
            axis = a.order.index(node.op.axis)
            _native.add_gather(
                low.program,
                node.name,
                a.tensor,
                a.dims,
                axis,
                node.op.indices,
                out.tensor,
                out.dims,
            )
        case Pad():
            a = low.in_order(x, low.order_of(x))
            out = low.new(y, a.order)
            begins = layout.apply(a.order, node.op.pads[: len(shape)])
            mode = PAD_MODES.index(node.op.mode)
            _native.add_pad(
                low.program, node.name, a.tensor, a.dims, begins, mode, node.op.value,
                out.tensor, out.dims,
            )  # fmt: skip
        case Pool():
            a = low.in_order(x, layout.channels_last(len(shape)))
            out = low.new(y, a.order)
            op, space = node.op, len(node.op.kernel)
            _native.add_pool(
                low.program, node.name, a.tensor, a.dims, POOL_KINDS.index(op.kind), op.kernel,
                op.strides, op.pads[:space], op.pads[space:], op.dilations, op.count_include_pad,
                out.tensor, out.dims,
            )  # fmt: skip
        case Reduce():
            _reduce(low, node, node.op)
        case Resize():
            a = low.in_order(x, low.order_of(x))
            out = low.new(y, a.order)
            tables = [resize_table(node.op, axis, shape[axis]) for axis in a.order]
            _native.add_resize(
                low.program, node.name, a.tensor, a.dims, tables, out.tensor, out.dims
            )
        case Reshape():
            _reshape(low, node, node.op)
        case Transpose():
            a = low.in_order(x, low.order_of(x))
            order = tuple(node.op.perm.index(axis) for axis in a.order)
            low.placed[y] = Placed(a.tensor, order, a.dims)
        case Expand():
            rank = len(node.op.shape)
            a = layout.widened(low.in_order(x, low.order_of(x)), rank)
            out = low.new(y, a.order)
            _native.add_expand(low.program, node.name, a.tensor, a.dims, out.tensor, out.dims)
        case Softmax():
            a = low.in_order(x, low.order_of(x))
            out = low.new(y, a.order)
            axis = a.order.index(node.op.axis)
            _native.add_softmax(
                low.program,
                node.name,
                a.tensor,
                a.dims,
                axis,
                node.op.log,
                node.op.nan_is_zero,
                out.tensor,
            )
        case LayerNorm():
            _layer_norm(low, node, node.op)
        case MatMul():
            _matmul(low, node)
        case _:
            raise UnsupportedOperatorError(
                f"the engine has no step for {type(node.op).__name__}.", where=node.name
            )


def activation_code(op: Unary | None) -> tuple[int, float, float]:
    """(native code, a, b) of an elementwise function; code -1 for none."""
    if op is None:
        return -1, 0.0, 0.0
    a, b = (*op.params, 0.0, 0.0)[:2]
    return UNARY_KINDS.index(op.kind), float(a), float(b)


def add_scaled_codes(low: Lowering, node: Node) -> bool:
    """A product of a value in codes, which is decoded as such, with numbers of its channels; False
    of other nodes, and where floats would be rounded otherwise than by the product itself."""
    if not isinstance(node.op, Binary) or node.op.kind != "mul":
        return False
    for value, other in (node.inputs, node.inputs[::-1]):
        if value not in low.sites.values or value in low.placed or not low.is_constant(other):
            continue
        coded, numbers = low.sites.values[value], low.graph.constants[other]
        shape = low.graph.shape(value)
        padded = (1,) * (len(shape) - numbers.ndim) + numbers.shape
        wide = [axis for axis, size in enumerate(padded) if size != 1]
        if low.graph.shape(node.outputs[0]) != shape or wide not in ([], [coded.order[-1]]):
            continue
        factors = numbers.reshape(-1).astype(np.float64)
        units = coded.codes.unit * factors
        if (units.astype(np.float32) == units).all() and _are_normal(units):
            low.sites.decode(low, value, node.outputs[0], factors)
            return True
    return False


def _are_normal(numbers: Reals) -> bool:
    """Whether products of codes with them are no smaller and no larger than floats are."""
    sizes = np.abs(numbers[numbers != 0])
    return bool((sizes > 2.0**-100).all() and (sizes < 2.0**100).all())


def _binary(low: Lowering, node: Node, op: Binary) -> None:
    a, b = node.inputs
    rank = len(low.graph.shape(node.outputs[0]))
    # The order of the largest computed operand; the other one follows.
    leader = max(
        (value for value in (a, b) if not low.is_constant(value)),
        key=lambda value: low.graph.types[value].size,
    )
    leading = layout.widened(low.in_order(leader, low.order_of(leader)), rank)
    operands = [_broadcast_operand(low, value, leading.order) for value in (a, b)]
    out = low.new(node.outputs[0], leading.order)
    _native.add_binary(
        low.program, node.name, BINARY_KINDS.index(op.kind), operands[0].tensor, operands[0].dims,
        operands[1].tensor, operands[1].dims, out.tensor, out.dims,
    )  # fmt: skip


def _broadcast_operand(low: Lowering, value: str, order: Dims) -> Placed:
    """An operand in the order of a result of higher or equal rank."""
    extra = len(order) - len(low.graph.shape(value))
    own = tuple(axis - extra for axis in order if axis >= extra)
    placed = layout.widened(low.in_order(value, own), len(order))
    # Only axes of size 1 were added, so their place in the order is free.
    dims = layout.apply(order, placed.shape)
    return low.reread(value, placed, order, dims)


def _concat(low: Lowering, node: Node, op: Concat) -> None:
    computed = [value for value in node.inputs if not low.is_constant(value)]
    largest = max(computed, key=lambda value: low.graph.types[value].size)
    value = node.outputs[0]
    for part in computed:
        low.as_floats(part)
    # Placed already where one of the parts was written into it.
    order = low.placed[value].order if value in low.placed else low.order_of(largest)
    parts = [low.in_order(part, order) for part in node.inputs]
    elsewhere = low.sites.analysis.integer_nodes
    if order[-1] == op.axis and is_only_gathered(low.graph, value, op.axis, elsewhere):
        low.joined[value] = parts
        return
    out = low.placed[value] if value in low.placed else low.new(value, order)
    _native.add_concat(
        low.program, node.name, [part.tensor for part in parts], [part.dims for part in parts],
        order.index(op.axis), out.tensor, out.dims,
    )  # fmt: skip


def is_only_gathered(graph: Graph, value: str, axis: int, integer_nodes: Collection[str]) -> bool:
    """True when all that is ever read of a value are channels picked by gathers, in floats."""
    return value not in graph.outputs and all(
        isinstance(reader.op, Gather)
        and reader.op.axis == axis
        and reader.name not in integer_nodes
        for reader in graph.consumers().get(value, [])
    )


def _select(low: Lowering, node: Node, op: Gather) -> None:
    """A gather of a concatenation that was never made."""
    parts = low.joined[node.inputs[0]]
    sources = [(i, channel) for i, part in enumerate(parts) for channel in range(part.dims[-1])]
    out = low.new(node.outputs[0], parts[0].order)
    _native.add_select(
        low.program,
        node.name,
        [part.tensor for part in parts],
        [sources[index][0] for index in op.indices],
        [sources[index][1] for index in op.indices],
        out.tensor,
    )


def _slice(low: Lowering, node: Node, op: Slice) -> None:
    x, y = node.inputs[0], node.outputs[0]
    a = low.in_order(x, low.order_of(x))
    starts, strides = layout.apply(a.order, op.starts), layout.apply(a.order, op.steps)
    dims = layout.apply(a.order, low.graph.shape(y))
    if strides[-1] == 1 and dims[:-1] == a.dims[:-1] and all(step == 1 for step in strides):
        out = Placed(low.program.add_view(a.tensor, starts[-1], dims[-1]), a.order, dims)
        low.sliced.add(out.tensor)
        low.placed[y] = out
    else:
        out = low.new(y, a.order)
    _native.add_slice(
        low.program, node.name, a.tensor, a.dims, starts, strides, out.tensor, out.dims
    )


def _reduce(low: Lowering, node: Node, op: Reduce) -> None:
    x, y = node.inputs[0], node.outputs[0]
    a = low.in_order(x, low.order_of(x))
    kept = [axis for axis in a.order if axis not in op.axes]
    if op.keepdims:
        order = a.order
    else:
        remaining = sorted(kept)
        order = tuple(remaining.index(axis) for axis in kept)
    out = low.new(y, order)
    axes = tuple(i for i, axis in enumerate(a.order) if axis in op.axes)
    _native.add_reduce(
        low.program, node.name, REDUCE_KINDS.index(op.kind), a.tensor, a.dims, axes, out.tensor
    )


def _reshape(low: Lowering, node: Node, op: Reshape) -> None:
    x, y = node.inputs[0], node.outputs[0]
    shape = low.graph.shape(x)
    a = low.in_order(x, low.order_of(x))
    order = layout.reshaped_order(a.order, shape, op.shape)
    if order is None:
        a = low.in_order(x, layout.identity(len(shape)))
        order = layout.identity(len(op.shape))
    low.placed[y] = low.reread(y, a, order, layout.apply(order, op.shape))


def _layer_norm(low: Lowering, node: Node, op: LayerNorm) -> None:
    x, y = node.inputs[0], node.outputs[0]
    rank = len(low.graph.shape(x))
    order = low.order_of(x)
    if order[op.axis :] != layout.identity(rank)[op.axis :]:
        order = layout.identity(rank)
    a = low.in_order(x, order)
    scale, bias = (
        np.asarray(low.graph.constants[name], np.float32).reshape(-1).tolist() if name else []
        for name in (*node.inputs[1:3], "")[:2]
    )
    out = low.new(y, order)
    _native.add_layer_norm(
        low.program,
        node.name,
        a.tensor,
        a.dims,
        rank - op.axis,
        op.epsilon,
        scale,
        bias,
        out.tensor,
    )


def _matmul(low: Lowering, node: Node) -> None:
    rank = len(low.graph.shape(node.outputs[0]))
    operands = [
        layout.widened(low.in_order(value, layout.identity(len(low.graph.shape(value)))), rank)
        for value in node.inputs
    ]
    out = low.new(node.outputs[0], layout.identity(rank))
    _native.add_matmul(
        low.program, node.name, operands[0].tensor, operands[0].dims, operands[1].tensor,
        operands[1].dims, out.tensor, out.dims,
    )  # fmt: skip
