"""The closed operator set in torch, differentiable, on one frame."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from mquans.errors import UnsupportedOperatorError
from mquans.graph import (
    Binary,
    Concat,
    Conv,
    ConvTranspose,
    Expand,
    Gather,
    LayerNorm,
    Linear,
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
    axis_taps,
    infer_node,
    window_span,
)

Tensor = Any
"""torch.Tensor; torch is an extra and carries no types here."""

UNARY: dict[str, Callable[..., Tensor]] = {
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "clip": lambda x, low, high: x.clamp(low).clamp(max=high),
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "hard_sigmoid": lambda x, alpha, beta: (alpha * x + beta).clamp(0, 1),
    "hard_swish": F.hardswish,
    "tanh": torch.tanh,
    "elu": F.elu,
    "selu": lambda x, alpha, gamma: gamma * F.elu(x, alpha),
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "softplus": F.softplus,
    "mish": F.mish,
    "exp": torch.exp,
    "log": torch.log,
    "sqrt": torch.sqrt,
    "abs": torch.abs,
    "neg": torch.neg,
    "reciprocal": torch.reciprocal,
    "erf": torch.erf,
    "floor": torch.floor,
    "ceil": torch.ceil,
    "round": torch.round,
    "sign": torch.sign,
    "softsign": F.softsign,
    "sin": torch.sin,
    "cos": torch.cos,
    "quantize": lambda x, low, high: torch.clamp(torch.round(x), low, high),
}

BINARY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "max": torch.maximum,
    "min": torch.minimum,
    "pow": torch.pow,
    "prelu": lambda x, slope: torch.where(x >= 0, x, x * slope),
    "equal": lambda a, b: torch.eq(a, b).to(a.dtype),
    "less": lambda a, b: torch.lt(a, b).to(a.dtype),
    "mask": lambda x, mask: torch.where(mask != 0, x, torch.zeros_like(x)),
}

REDUCE: dict[str, Callable[[Tensor, tuple[int, ...], bool], Tensor]] = {
    "mean": lambda x, axes, keep: x.mean(axes, keepdim=keep),
    "sum": lambda x, axes, keep: x.sum(axes, keepdim=keep),
    "max": lambda x, axes, keep: x.amax(axes, keepdim=keep),
    "min": lambda x, axes, keep: x.amin(axes, keepdim=keep),
    "l1": lambda x, axes, keep: x.abs().sum(axes, keepdim=keep),
    "l2": lambda x, axes, keep: x.square().sum(axes, keepdim=keep).sqrt(),
    "sum_square": lambda x, axes, keep: x.square().sum(axes, keepdim=keep),
}

CONV = (F.conv1d, F.conv2d, F.conv3d)
CONV_TRANSPOSE = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)
MAX_POOL = (F.max_pool1d, F.max_pool2d, F.max_pool3d)


def evaluate(node: Node, inputs: Sequence[Tensor]) -> Tensor:
    """The output of a node for inputs that are present, in order, of the graph's shapes.

    Raises:
        UnsupportedOperatorError: gradients cannot pass through it (fallback subgraphs, products
            along an axis); names the node.
    """
    op, x = node.op, inputs[0]
    match op:
        case Conv() | ConvTranspose():
            y = _conv(op, x, inputs[1], inputs[2] if len(inputs) > 2 else None)
            return _activated(y, op.activation)
        case Linear(activation):
            y = x @ inputs[1]
            return _activated(y + inputs[2] if len(inputs) > 2 else y, activation)
        case Unary():
            return _activated(x, op)
        case Binary(kind):
            return BINARY[kind](x, inputs[1])
        case MatMul():
            return torch.matmul(x, inputs[1])
        case Pool():
            return _pool(node, op, x)
        case Resize():
            return _resize(op, x)
        case Reduce(kind, axes, keepdims) if kind in REDUCE:
            return REDUCE[kind](x, axes, keepdims) if axes else x
        case LayerNorm(axis, epsilon):
            weight, bias = (*inputs[1:], None, None)[:2]
            return F.layer_norm(x, x.shape[axis:], weight, bias, epsilon)
        case Softmax(axis, log):
            return F.log_softmax(x, axis) if log else F.softmax(x, axis)
        case Concat(axis):
            return torch.cat(list(inputs), axis)
        case Slice(starts, stops, steps):
            for axis, bounds in enumerate(zip(starts, stops, steps, strict=True)):
                if bounds != (0, x.shape[axis], 1):
                    x = x.index_select(axis, torch.tensor(list(range(*bounds))))
            return x
        case Gather(axis, indices):
            return x.index_select(axis, torch.tensor(list(indices)))
        case Pad():
            return _pad(op, x)
        case Reshape(shape) | Expand(shape):
            return x.reshape(shape) if isinstance(op, Reshape) else x.expand(shape)
        case Transpose(perm):
            return x.permute(perm)
    raise UnsupportedOperatorError(
        f"fine-tuning cannot pass gradients through {type(op).__name__}.",
        where=f"node {node.name!r}",
        hint="Fine-tune a model that ends before it, or train where the model comes from.",
    )


def _activated(x: Tensor, activation: Unary | None) -> Tensor:
    return x if activation is None else UNARY[activation.kind](x, *activation.params)


def _conv(op: Conv | ConvTranspose, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    axes = len(op.kernel)
    if isinstance(op, Conv):
        padded = F.pad(x, _torch_pads(op.pads))
        conv = CONV[axes - 1]
        return conv(padded, weight, bias, op.strides, 0, op.dilations, op.groups)
    transpose = CONV_TRANSPOSE[axes - 1]
    # Cropped afterwards: torch crops both ends alike, ONNX not.
    y = transpose(x, weight, bias, op.strides, 0, op.output_padding, op.groups, op.dilations)
    for axis in range(axes):
        size = y.shape[2 + axis] - op.pads[axis] - op.pads[axes + axis]
        y = y.narrow(2 + axis, op.pads[axis], size)
    return y


def _torch_pads(pads: Sequence[int]) -> list[int]:
    """ONNX order (all begins, then all ends) as torch takes it: pairs, the last axis first."""
    half = len(pads) // 2
    return [pad for axis in reversed(range(half)) for pad in (pads[axis], pads[half + axis])]


def _pad(op: Pad, x: Tensor) -> Tensor:
    if op.mode == "constant":
        return F.pad(x, _torch_pads(op.pads), value=op.value)
    for axis in range(x.ndim):
        before, after = op.pads[axis], op.pads[x.ndim + axis]
        index = torch.arange(-before, x.shape[axis] + after)
        last = x.shape[axis] - 1
        if op.mode == "reflect":
            index = last - (last - index.abs()).abs()
        x = x.index_select(axis, index.clamp(0, last))
    return x


def _pool(node: Node, op: Pool, x: Tensor) -> Tensor:
    axes = len(op.kernel)
    (_, _, *counts) = infer_node(node, [tuple(x.shape)])[0]
    ends = []
    for i, size in enumerate(x.shape[2:]):
        reach = (counts[i] - 1) * op.strides[i] + window_span(op.kernel[i], op.dilations[i])
        ends.append(max(op.pads[axes + i], reach - size - op.pads[i]))
    pads = _torch_pads((*op.pads[:axes], *ends))
    if op.kind == "max":
        padded = F.pad(x, pads, value=-math.inf)
        pooled = MAX_POOL[axes - 1](padded, op.kernel, op.strides, 0, op.dilations)
        return _cropped(pooled, counts)
    inside = torch.ones((1, 1, *x.shape[2:]))
    if op.count_include_pad:
        inside = F.pad(inside, _torch_pads(op.pads), value=1.0)
        ends = [end - declared for end, declared in zip(ends, op.pads[axes:], strict=True)]
        inside = F.pad(inside, _torch_pads((*[0] * axes, *ends)))
    else:
        inside = F.pad(inside, pads)
    total, share = _window_sum(F.pad(x, pads), op), _window_sum(inside, op)
    return _cropped(total / share.clamp(min=1), counts)


def _window_sum(x: Tensor, op: Pool) -> Tensor:
    """Sum over the windows of every channel, as a convolution with ones."""
    ones = torch.ones((x.shape[1], 1, *op.kernel))
    conv = CONV[len(op.kernel) - 1]
    return conv(x, ones, None, op.strides, 0, op.dilations, x.shape[1])


def _cropped(x: Tensor, counts: Sequence[int]) -> Tensor:
    for axis, count in enumerate(counts):
        x = x.narrow(2 + axis, 0, count)
    return x


def _resize(op: Resize, x: Tensor) -> Tensor:
    for axis, size in enumerate(x.shape):
        if op.sizes[axis] == size and op.scales[axis] == 1.0:
            continue
        indices, weights = axis_taps(op, axis, size)
        shape = [1] * x.ndim
        shape[axis] = -1
        taken = [
            x.index_select(axis, torch.from_numpy(indices[:, tap]))
            * torch.from_numpy(weights[:, tap]).float().reshape(shape)
            for tap in range(indices.shape[1])
        ]
        x = torch.stack(taken).sum(0)
    return x
