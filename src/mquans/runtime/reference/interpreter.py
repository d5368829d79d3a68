"""The reference network: a slow numpy interpreter of the closed operator set.

It says what a graph means. The importers are tested against onnxruntime through it, and the engine
against it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mquans.errors import FrameError
from mquans.graph import (
    Binary,
    Concat,
    Conv,
    ConvTranspose,
    Expand,
    Fallback,
    Gather,
    Graph,
    LayerNorm,
    Linear,
    MatMul,
    Node,
    Pad,
    Pool,
    Recurrence,
    Reduce,
    Reshape,
    Resize,
    Slice,
    Softmax,
    Transpose,
    Unary,
    axis_taps,
    infer_node,
    slices,
    window_span,
)
from mquans.runtime.reference.functions import BINARY, REDUCE, unary
from mquans.runtime.reference.recurrence import recurrence

Array = npt.NDArray[Any]


class ReferenceNetwork:
    """Runs a graph in floating point.

    Args:
        graph: any graph of the closed set, rewritten or not.
        dtype: of all arithmetic; float64 makes the reference the more exact side of a comparison.
    """

    def __init__(self, graph: Graph, *, dtype: npt.DTypeLike = np.float64) -> None:
        self.graph = graph
        self.dtype = np.dtype(dtype)
        self._sessions: dict[str, Any] = {}
        self._constants = {name: self._cast(a) for name, a in graph.constants.items()}

    def run(
        self, feeds: Mapping[str, Array], outputs: Sequence[str] | None = None
    ) -> dict[str, Array]:
        """One frame.

        Args:
            feeds: array per graph input, of its shape.
            outputs: values to return, any of the graph; by default its outputs.

        Returns:
            name to array, in `dtype` (fallback subgraph outputs of other types keep theirs).

        Raises:
            FrameError: an input is missing or of another shape.
        """
        values: dict[str, Array] = dict(self._constants)
        for name in self.graph.inputs:
            if name not in feeds:
                raise FrameError("no array is given for it.", where=f"input {name!r}")
            array = np.asarray(feeds[name])
            if array.shape != self.graph.shape(name):
                wanted = list(self.graph.shape(name))
                raise FrameError(f"{list(array.shape)} is not {wanted}.", where=f"input {name!r}")
            values[name] = self._cast(array)
        for node in self.graph.nodes:
            arrays = self.evaluate(node, [values[value] for value in node.inputs if value])
            values.update(zip(node.outputs, arrays, strict=True))
        return {name: values[name] for name in outputs or self.graph.outputs}

    def evaluate(self, node: Node, inputs: Sequence[Array]) -> list[Array]:
        """Outputs of one node.

        Args:
            inputs: the inputs that are present, in order.
        """
        if isinstance(node.op, Fallback):
            return self._fallback(node, inputs)
        # Infinities and NaN are answers here, not accidents.
        with np.errstate(all="ignore"):
            if isinstance(node.op, Recurrence):
                present = dict(zip([value for value in node.inputs if value], inputs, strict=True))
                slots = [present.get(value) for value in node.inputs]
                return recurrence(node.op, *slots)
            return [np.asarray(_evaluate(node, inputs), self.dtype)]

    def _cast(self, array: Array) -> Array:
        return array.astype(self.dtype) if array.dtype.kind == "f" else array

    def _fallback(self, node: Node, inputs: Sequence[Array]) -> list[Array]:
        assert isinstance(node.op, Fallback)
        if node.name not in self._sessions:
            import onnxruntime

            self._sessions[node.name] = onnxruntime.InferenceSession(
                node.op.model, providers=["CPUExecutionProvider"]
            )
        session = self._sessions[node.name]
        kinds = [self.graph.types[value].dtype for value in node.inputs]
        feeds = {
            entry.name: array.astype(kind)
            for entry, array, kind in zip(session.get_inputs(), inputs, kinds, strict=True)
        }
        return [self._cast(np.asarray(array)) for array in session.run(None, feeds)]


def _evaluate(node: Node, inputs: Sequence[Array]) -> Array:
    op, x = node.op, inputs[0]
    match op:
        case Unary():
            return unary(op, x)
        case Binary(kind):
            return np.asarray(BINARY[kind](x, inputs[1]))
        case Conv():
            return _activated(_conv(op, x, inputs[1]), inputs[2:], op.activation, axis=1)
        case ConvTranspose():
            return _activated(_conv_transpose(op, x, inputs[1]), inputs[2:], op.activation, axis=1)
        case Linear():
            return _activated(np.matmul(x, inputs[1]), inputs[2:], op.activation, axis=-1)
        case MatMul():
            return np.asarray(np.matmul(x, inputs[1]))
        case Pool():
            return _pool(op, x)
        case Concat(axis):
            return np.concatenate(inputs, axis)
        case Slice():
            return x[slices(op.starts, op.stops, op.steps)]
        case Gather(axis, indices):
            return np.take(x, indices, axis)
        case Pad(pads, mode, value):
            rank = x.ndim
            width = [(pads[i], pads[rank + i]) for i in range(rank)]
            if mode == "constant":
                return np.pad(x, width, constant_values=value)
            return np.pad(x, width, mode=mode)
        case Reduce(kind, axes, keepdims):
            return np.asarray(REDUCE[kind](x, axes, keepdims))
        case Resize():
            return _resize(op, x)
        case Reshape(shape):
            return x.reshape(shape)
        case Transpose(perm):
            return x.transpose(perm)
        case Expand(shape):
            return np.broadcast_to(x, shape)
        case Softmax(axis, log, nan_is_zero):
            y = _softmax(x, axis, log)
            return np.where(np.isnan(y), 0, y) if nan_is_zero else y
        case LayerNorm():
            return _layer_norm(op, x, inputs[1:])
    raise TypeError(f"{op} has no float meaning")


def _activated(y: Array, bias: Sequence[Array], activation: Unary | None, *, axis: int) -> Array:
    if bias:
        shape = [1] * y.ndim
        shape[axis] = -1
        y = y + bias[0].reshape(shape)
    return unary(activation, y) if activation is not None else y


def _windows(x: Array, tap: Sequence[int], steps: Sequence[int], counts: Sequence[int]) -> Array:
    """The inputs that one kernel tap meets at every output position: [B, C, counts...]."""
    space = (
        slice(start, start + (count - 1) * step + 1, step)
        for start, step, count in zip(tap, steps, counts, strict=True)
    )
    return x[(slice(None), slice(None), *space)]


def _conv(op: Conv, x: Array, weight: Array) -> Array:
    axes, groups = len(op.kernel), op.groups
    pads = zip(op.pads[:axes], op.pads[axes:], strict=True)
    x = np.pad(x, [(0, 0), (0, 0), *pads])
    counts = [
        (x.shape[2 + i] - window_span(op.kernel[i], op.dilations[i])) // op.strides[i] + 1
        for i in range(axes)
    ]
    batch, channels, outputs = x.shape[0], x.shape[1], weight.shape[0]
    kernels = weight.reshape(groups, outputs // groups, channels // groups, *op.kernel)
    total = np.zeros((batch, groups, outputs // groups, math.prod(counts)), x.dtype)
    for tap in np.ndindex(*op.kernel):
        start = [t * d for t, d in zip(tap, op.dilations, strict=True)]
        rows = _windows(x, start, op.strides, counts)
        rows = rows.reshape(batch, groups, channels // groups, -1)
        total += kernels[(..., *tap)] @ rows
    return total.reshape(batch, outputs, *counts)


def _conv_transpose(op: ConvTranspose, x: Array, weight: Array) -> Array:
    axes, groups = len(op.kernel), op.groups
    batch, channels, *space = x.shape
    outputs = weight.shape[1]
    full = [
        (space[i] - 1) * op.strides[i]
        + window_span(op.kernel[i], op.dilations[i])
        + op.output_padding[i]
        for i in range(axes)
    ]
    result = np.zeros((batch, groups * outputs, *full), x.dtype)
    kernels = weight.reshape(groups, channels // groups, outputs, *op.kernel)
    columns = x.reshape(batch, groups, channels // groups, -1)
    for tap in np.ndindex(*op.kernel):
        start = [t * d for t, d in zip(tap, op.dilations, strict=True)]
        spread = np.swapaxes(kernels[(..., *tap)], 1, 2) @ columns
        target = _windows(result, start, op.strides, space)
        target += spread.reshape(target.shape)
    crop = [slice(op.pads[i], full[i] - op.pads[axes + i]) for i in range(axes)]
    return result[(slice(None), slice(None), *crop)]


def _pool(op: Pool, x: Array) -> Array:
    axes = len(op.kernel)
    (_, _, *counts) = infer_node(Node("", op, (), ()), [x.shape])[0]
    widths = [(0, 0), (0, 0)]
    inside = np.ones((1, 1, *x.shape[2:]), x.dtype)
    for i, size in enumerate(x.shape[2:]):
        reach = (counts[i] - 1) * op.strides[i] + window_span(op.kernel[i], op.dilations[i])
        widths.append((op.pads[i], max(op.pads[axes + i], reach - size - op.pads[i])))
    is_max = op.kind == "max"
    padded = np.pad(x, widths, constant_values=-np.inf if is_max else 0.0)
    if op.count_include_pad:
        pads = [(0, 0), (0, 0), *zip(op.pads[:axes], op.pads[axes:], strict=True)]
        inside = np.pad(inside, pads, constant_values=1.0)
        widths = [(a - b, c - d) for (a, c), (b, d) in zip(widths, pads, strict=True)]
    inside = np.pad(inside, widths)
    total = np.full((*x.shape[:2], *counts), -np.inf if is_max else 0.0, x.dtype)
    share = np.zeros((1, 1, *counts), x.dtype)
    for tap in np.ndindex(*op.kernel):
        start = [t * d for t, d in zip(tap, op.dilations, strict=True)]
        values = _windows(padded, start, op.strides, counts)
        total = np.maximum(total, values) if is_max else total + values
        share += _windows(inside, start, op.strides, counts)
    return total if is_max else total / share


def _resize(op: Resize, x: Array) -> Array:
    for axis, size in enumerate(x.shape):
        if op.sizes[axis] == size and op.scales[axis] == 1.0:
            continue
        indices, weights = axis_taps(op, axis, size)
        shape = [1] * x.ndim
        shape[axis] = -1
        taken = [
            np.take(x, indices[:, tap], axis) * weights[:, tap].reshape(shape)
            for tap in range(indices.shape[1])
        ]
        x = np.sum(taken, axis=0)
    return x


def _softmax(x: Array, axis: int, log: bool) -> Array:
    shifted = x - x.max(axis, keepdims=True)
    total = np.exp(shifted).sum(axis, keepdims=True)
    return np.asarray(shifted - np.log(total) if log else np.exp(shifted) / total)


def _layer_norm(op: LayerNorm, x: Array, constants: Sequence[Array]) -> Array:
    axes = tuple(range(op.axis, x.ndim))
    deviation = x - x.mean(axes, keepdims=True)
    variance = np.square(deviation).mean(axes, keepdims=True)
    y = deviation / np.sqrt(variance + op.epsilon) * constants[0]
    return np.asarray(y + constants[1] if len(constants) > 1 else y)
