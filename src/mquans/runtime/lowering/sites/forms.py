"""Which operators have an integer form, for inputs that lie in a given order of axes."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, prod

import numpy as np
import numpy.typing as npt

from mquans.graph import (
    Binary,
    Concat,
    Gather,
    Graph,
    Node,
    Pad,
    Pool,
    Reduce,
    Resize,
    Slice,
    Unary,
)
from mquans.graph.rewrites.fuse_activation import has_integer_form
from mquans.runtime.lowering import layout
from mquans.runtime.lowering.layout import Dims
from mquans.runtime.lowering.sites.whole_steps import Blend, Encoded, WholeStep

LARGEST_WINDOW = 2**16 - 1
"""Sites of which a sum of sixteen-bit codes stays within 32 bits."""


@dataclass(frozen=True, slots=True)
class Form:
    """The integer form of one operator.

    Attributes:
        inputs: computed values that it reads as codes, in the order of its output.
        fresh: the output has exponents of its own.
    """

    inputs: tuple[str, ...]
    fresh: bool


def integer_form(graph: Graph, node: Node, order: Dims) -> Form | None:
    """How a node is computed on codes whose axes lie in an order; None where it is not."""
    if not node.inputs:
        return None
    x, y = node.inputs[0], node.outputs[0]
    computed = tuple(value for value in node.inputs if value and value not in graph.constants)
    if len(order) < 2 or any(len(graph.shape(value)) != len(order) for value in (*computed, y)):
        return None
    form, fresh = False, False
    match node.op:
        case Unary():
            form = has_integer_form(node.op)
        case Binary():
            form, fresh = _combines(graph, node, node.op, order), node.op.kind != "prelu"
        case Concat(axis=axis):
            form = axis == order[-1] and len(computed) == len(node.inputs)
        case Slice() | Gather():
            form = True
        case Pad(pads=pads, value=value):
            channels = order[-1]
            form = not pads[channels] and not pads[channels + len(order)] and isfinite(value)
        case Pool():
            form, fresh = _pools(graph, node, node.op, order), node.op.kind == "average"
        case Reduce():
            form, fresh = _reduces(graph, node, node.op, order), node.op.kind != "max"
        case Resize():
            sizes = graph.shape(x)[order[-1]], node.op.sizes[order[-1]]
            form = node.op.mode in ("nearest", "linear") and sizes[0] == sizes[1]
    return Form(computed, fresh) if form else None


def whole_form(graph: Graph, value: str, step: WholeStep, order: Dims) -> Form | None:
    """How a quantized value is made in one step; None where its sources do not fit it."""
    shape = graph.shape(value)
    if len(order) < 2 or any(len(graph.shape(name)) != len(order) for name in step.sources):
        return None
    if isinstance(step, Blend) and not all(
        _broadcasts(graph.shape(name), shape, order) for name in step.sources
    ):
        return None
    return Form(() if isinstance(step, Encoded) else step.sources, fresh=True)


def channel_constant(
    graph: Graph, value: str, order: Dims, channels: int
) -> npt.NDArray[np.float64] | None:
    """A constant that is the same at all sites, channel by channel; None for any other."""
    array = np.asarray(graph.constants[value], np.float64)
    if array.ndim > len(order) or not np.isfinite(array).all():
        return None
    shape = (1,) * (len(order) - array.ndim) + array.shape
    if any(size != 1 for axis, size in enumerate(shape) if axis != order[-1]):
        return None
    return np.broadcast_to(array.reshape(-1), (channels,))


def _combines(graph: Graph, node: Node, op: Binary, order: Dims) -> bool:
    shape = graph.shape(node.outputs[0])
    constants = [value in graph.constants for value in node.inputs]
    if all(constants):
        return False
    for value in node.inputs:
        if value not in graph.constants:
            if not _broadcasts(graph.shape(value), shape, order):
                return False
            continue
        constant = channel_constant(graph, value, order, shape[order[-1]])
        if constant is None:
            return False
        if op.kind == "div" and not np.isfinite(1 / constant[constant != 0]).all():
            return False
        if op.kind == "div" and not constant.all():
            return False
        if op.kind == "prelu" and np.abs(constant).max() > 1:
            return False
    match op.kind:
        case "add" | "sub" | "mul":
            return True
        case "div" | "prelu":
            return constants == [False, True]
        case _:
            return False


def _broadcasts(shape: Dims, result: Dims, order: Dims) -> bool:
    """True for the same sites or one for all, and the same channels or one for all."""
    sites, all_sites = layout.apply(order[:-1], shape), layout.apply(order[:-1], result)
    return (sites == all_sites or prod(sites) == 1) and shape[order[-1]] in (1, result[order[-1]])


def _pools(graph: Graph, node: Node, op: Pool, order: Dims) -> bool:
    shape, result = graph.shape(node.inputs[0]), graph.shape(node.outputs[0])
    if order != layout.channels_last(len(shape)) or prod(op.kernel) > LARGEST_WINDOW:
        return False
    for axis, size in enumerate(op.kernel):
        inputs, pad, dilation = shape[2 + axis], op.pads[axis], op.dilations[axis]
        start = np.arange(result[2 + axis])[:, None] * op.strides[axis] - pad
        at = start + np.arange(size) * dilation
        if not ((at >= 0) & (at < inputs)).any(axis=1).all():
            return False
    return True


def _reduces(graph: Graph, node: Node, op: Reduce, order: Dims) -> bool:
    shape = graph.shape(node.inputs[0])
    return (
        op.kind in ("mean", "sum", "max")
        and op.keepdims
        and order[-1] not in op.axes
        and prod(shape[axis] for axis in op.axes) <= LARGEST_WINDOW
    )
