"""One rule per operator: the gradient at an input from the gradient at the output."""

from __future__ import annotations

from mquans.calibration.gradients.rules.elementwise import binary_gradient, unary_gradient
from mquans.calibration.gradients.rules.layers import (
    conv_gradient,
    conv_transpose_gradient,
    linear_gradient,
    matmul_gradient,
)
from mquans.calibration.gradients.rules.movement import (
    concat_gradient,
    pad_gradient,
    resize_gradient,
    slice_gradient,
    transpose_gradient,
)
from mquans.calibration.gradients.rules.reductions import (
    layer_norm_gradient,
    reduce_gradient,
    softmax_gradient,
)
from mquans.calibration.gradients.rules.windows import pool_gradient
from mquans.calibration.gradients.tape import Tape
from mquans.errors import UnsupportedOperatorError
from mquans.graph import (
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

__all__ = ["input_gradient", "stops"]


def stops(node: Node) -> bool:
    """True for nodes without a derivative that says anything: fallback subgraphs, whose inside is
    unknown, and sign and comparisons, which are flat everywhere."""
    match node.op:
        case Fallback() | Unary(kind="sign") | Binary(kind="equal" | "less"):
            return True
        case _:
            return False


def input_gradient(tape: Tape, node: Node, index: int, gradient: str) -> str:
    """The gradient at an input, of its shape.

    Args:
        node: not one that `stops`.
        index: of the input; not that of a weight or bias.
        gradient: at the node's output, of its shape.

    Raises:
        UnsupportedOperatorError: the operator has no rule.
    """
    x = node.inputs[0]
    match node.op:
        case Conv() as op:
            return conv_gradient(tape, op, x, node.inputs[1], gradient)
        case ConvTranspose() as op:
            return conv_transpose_gradient(tape, op, node.inputs[1], gradient)
        case Linear():
            return linear_gradient(tape, node.inputs[1], gradient)
        case MatMul():
            return matmul_gradient(tape, node.inputs, index, gradient)
        case Unary() as op:
            return unary_gradient(tape, op, x, node.outputs[0], gradient)
        case Binary(kind):
            return binary_gradient(tape, kind, node, index, gradient)
        case Pool() as op:
            return pool_gradient(tape, op, x, node.outputs[0], gradient)
        case Concat(axis):
            return concat_gradient(tape, node.inputs, axis, index, gradient)
        case Slice() as op:
            return slice_gradient(tape, op, tape.shape(x), gradient)
        case Gather(axis, indices):
            return tape.scatter(gradient, axis, indices, tape.shape(x)[axis])
        case Pad() as op:
            return pad_gradient(tape, op, tape.shape(x), gradient)
        case Resize() as op:
            return resize_gradient(tape, op, tape.shape(x), gradient)
        case Transpose(perm):
            return transpose_gradient(tape, perm, gradient)
        case Reshape():
            return tape.reshape(gradient, tape.shape(x))
        case Expand():
            return tape.sum_to(gradient, tape.shape(x))
        case Reduce() as op:
            return reduce_gradient(tape, op, x, node.outputs[0], gradient)
        case Softmax(axis, log):
            return softmax_gradient(tape, axis, log, node.outputs[0], gradient)
        case LayerNorm() as op:
            return layer_norm_gradient(tape, op, x, node.inputs[1], gradient)
    raise UnsupportedOperatorError(
        f"there is no gradient of {type(node.op).__name__}.",
        where=f"node {node.name!r}",
        hint="Calibrate with the criticality method perturb, which needs none.",
    )
