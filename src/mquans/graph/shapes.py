"""Shape inference: the output types of every operator from the types of its inputs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mquans.errors import ModelError
from mquans.graph.graph import Graph, Node, ValueType
from mquans.graph.operators import (
    GATES,
    Binary,
    Concat,
    Conv,
    ConvTranspose,
    Expand,
    Fallback,
    Gather,
    LayerNorm,
    Linear,
    MatMul,
    Operator,
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
)

Shape = tuple[int, ...]


def infer(graph: Graph) -> dict[str, ValueType]:
    """Types of all values of a graph whose input types are known.

    Fallback subgraphs keep the types that the importer found for their outputs.

    Returns:
        name to type, for inputs, constants and every node output.

    Raises:
        ModelError: operands do not fit together; names the node.
    """
    types = {name: graph.types[name] for name in graph.inputs}
    for name, array in graph.constants.items():
        types[name] = ValueType(tuple(array.shape), str(array.dtype))
    for node in graph.nodes:
        if isinstance(node.op, Fallback):
            types.update((output, graph.types[output]) for output in node.outputs)
            continue
        shapes = infer_node(node, [types[value].shape for value in node.inputs if value])
        types.update(zip(node.outputs, map(ValueType, shapes), strict=True))
    return types


def infer_node(node: Node, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    """Shapes of the outputs of a node that is not a fallback subgraph; all but a Recurrence have
    one.

    Args:
        node: for its operator, and its name in errors.
        inputs: shapes of the inputs that are present, in order.

    Raises:
        ModelError: operands do not fit together; names the node.
    """
    try:
        if isinstance(node.op, Recurrence):
            return _recurrence(node.op, inputs)
        shape = _infer(node.op, inputs)
        _need(min(shape, default=0) >= 0, f"the result would have the shape {list(shape)}")
        return (shape,)
    except (ValueError, IndexError, ZeroDivisionError) as error:
        shapes = ", ".join(str(list(shape)) for shape in inputs)
        raise ModelError(
            f"{type(node.op).__name__} cannot work on inputs of shape {shapes}: {error}.",
            where=f"node {node.name!r}",
            hint="If you changed the input shape, the model may only allow the declared one.",
        ) from None


def _infer(op: Operator, inputs: Sequence[Shape]) -> Shape:
    x = inputs[0]
    match op:
        case Unary() | Softmax() | LayerNorm():
            return x
        case Binary():
            return broadcast(x, inputs[1])
        case Conv():
            return _conv(op, x, inputs[1])
        case ConvTranspose():
            return _conv_transpose(op, x, inputs[1])
        case Linear():
            _need(x[-1] == inputs[1][0], f"{x[-1]} features meet {inputs[1][0]} weight rows")
            return (*x[:-1], inputs[1][1])
        case MatMul():
            other = inputs[1]
            _need(len(x) >= 2 and len(other) >= 2, "both need two or more axes")
            _need(x[-1] == other[-2], f"{x[-1]} columns meet {other[-2]} rows")
            return (*broadcast(x[:-2], other[:-2]), x[-2], other[-1])
        case Pool():
            return _pool(op, x)
        case Concat(axis):
            for other in inputs[1:]:
                fits = len(other) == len(x) and all(
                    a == b for i, (a, b) in enumerate(zip(x, other, strict=True)) if i != axis
                )
                _need(fits, f"only axis {axis} may differ")
            return (*x[:axis], sum(shape[axis] for shape in inputs), *x[axis + 1 :])
        case Slice(starts, stops, steps):
            parts = zip(starts, stops, steps, strict=True)
            return tuple(len(range(start, stop, step)) for start, stop, step in parts)
        case Gather(axis, indices):
            _need(all(0 <= i < x[axis] for i in indices), f"an index lies outside {x[axis]}")
            return (*x[:axis], len(indices), *x[axis + 1 :])
        case Pad(pads):
            rank = len(x)
            return tuple(pads[i] + size + pads[rank + i] for i, size in enumerate(x))
        case Reduce(_, axes, keepdims):
            if keepdims:
                return tuple(1 if i in axes else size for i, size in enumerate(x))
            return tuple(size for i, size in enumerate(x) if i not in axes)
        case Resize():
            return op.sizes
        case Reshape(shape):
            _need(math.prod(shape) == math.prod(x), f"{list(shape)} holds another number of values")
            return shape
        case Transpose(perm):
            _need(len(perm) == len(x), f"the permutation {list(perm)} has another rank")
            return tuple(x[i] for i in perm)
        case Expand(shape):
            _need(broadcast(x, shape) == shape, f"it cannot be expanded to {list(shape)}")
            return shape
        case Recurrence() | Fallback():
            raise ValueError("their types are found elsewhere")


MOST_TAPS = 1 << 24
"""Places that the windows of one axis may name: the tables of an engine hold them all."""


def broadcast(*shapes: Shape) -> Shape:
    """Common shape of operands under numpy's rules.

    Raises:
        ValueError: the shapes do not broadcast.
    """
    rank = max(map(len, shapes))
    result = []
    for axis in range(-rank, 0):
        sizes = {shape[axis] for shape in shapes if -axis <= len(shape)} - {1}
        _need(len(sizes) <= 1, f"sizes {sorted(sizes)} on axis {axis} do not broadcast")
        result.append(sizes.pop() if sizes else 1)
    return tuple(result)


def window_span(kernel: int, dilation: int) -> int:
    """Input positions that one window of a kernel reaches over."""
    return (kernel - 1) * dilation + 1


def _need(condition: bool, complaint: str) -> None:
    if not condition:
        raise ValueError(complaint)


def _check_taps(space: Sequence[int], kernel: Shape) -> None:
    for size, taps in zip(space, kernel, strict=True):
        _need(size * taps <= MOST_TAPS, f"{size} windows of {taps} are too many")


def _recurrence(op: Recurrence, inputs: Sequence[Shape]) -> tuple[Shape, ...]:
    (steps, batch, outputs), (hidden, columns) = inputs[:2]
    _need(columns == outputs, f"{outputs} input products meet {columns} recurrent ones")
    _need(outputs == GATES[op.kind] * hidden, f"{outputs} products are not {op.kind} gates")
    _need(len(op.lengths) in (0, batch), f"{len(op.lengths)} lengths for {batch} sequences")
    states = 2 if op.kind == "lstm" else 1
    return ((steps, batch, hidden), *[(batch, hidden)] * states)


def _conv(op: Conv, x: Shape, weight: Shape) -> Shape:
    axes = len(op.kernel)
    _need(len(x) == axes + 2, f"a {axes}-D convolution needs {axes + 2} axes")
    _need(x[1] == weight[1] * op.groups, f"{x[1]} channels meet {weight[1] * op.groups} in weights")
    _need(weight[0] % op.groups == 0, f"{weight[0]} filters do not divide into {op.groups} groups")
    space = []
    for i, size in enumerate(x[2:]):
        span = size + op.pads[i] + op.pads[axes + i] - window_span(op.kernel[i], op.dilations[i])
        _need(span >= 0, "the input is smaller than the kernel")
        space.append(span // op.strides[i] + 1)
    _check_taps(space, op.kernel)
    return (x[0], weight[0], *space)


def _conv_transpose(op: ConvTranspose, x: Shape, weight: Shape) -> Shape:
    axes = len(op.kernel)
    _need(len(x) == axes + 2, f"a {axes}-D convolution needs {axes + 2} axes")
    _need(x[1] == weight[0], f"{x[1]} channels meet {weight[0]} in weights")
    _need(x[1] % op.groups == 0, f"{x[1]} channels do not divide into {op.groups} groups")
    space = []
    for i, size in enumerate(x[2:]):
        full = (size - 1) * op.strides[i] + window_span(op.kernel[i], op.dilations[i])
        space.append(full + op.output_padding[i] - op.pads[i] - op.pads[axes + i])
    _need(min(space) > 0, "nothing is left after cropping the padding")
    _check_taps(space, op.kernel)
    return (x[0], weight[1] * op.groups, *space)


def _pool(op: Pool, x: Shape) -> Shape:
    axes = len(op.kernel)
    _need(len(x) == axes + 2, f"a {axes}-D pool needs {axes + 2} axes")
    spans = _pool_spans(op, x)
    _need(min(spans) >= 0, "the input is smaller than the window")
    left_out = windows_left_out(op, x)
    space = [
        (-(-span // stride) if op.ceil_mode else span // stride) + 1 - out
        for span, stride, out in zip(spans, op.strides, left_out, strict=True)
    ]
    _check_taps(space, op.kernel)
    return (x[0], x[1], *space)


def windows_left_out(op: Pool, x: Shape) -> tuple[bool, ...]:
    """Along which axes of space the last window would begin in the end padding: it is left out, as
    ONNX defines."""
    return tuple(
        op.ceil_mode and -(-span // stride) * stride >= size + begin
        for span, stride, size, begin in zip(
            _pool_spans(op, x), op.strides, x[2:], op.pads[: len(op.kernel)], strict=True
        )
    )


def _pool_spans(op: Pool, x: Shape) -> list[int]:
    """How far the first window can be moved along each axis of space."""
    axes = len(op.kernel)
    return [
        size + op.pads[i] + op.pads[axes + i] - window_span(op.kernel[i], op.dilations[i])
        for i, size in enumerate(x[2:])
    ]
