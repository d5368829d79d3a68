"""Gradients of the layers that multiply: convolutions and products."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mquans.calibration.gradients.tape import Tape
from mquans.graph import Conv, ConvTranspose, Linear, MatMul, Transpose, window_span


def conv_gradient(tape: Tape, op: Conv, x: str, weight: str, gradient: str) -> str:
    """A transposed convolution with the same weights."""
    space = tape.shape(x)[2:]
    axes = range(len(space))
    spans = [window_span(op.kernel[i], op.dilations[i]) for i in axes]
    if all(stride == 1 for stride in op.strides) and all(
        op.pads[i] < spans[i] and op.pads[len(space) + i] < spans[i] for i in axes
    ):
        # The same as an ordinary convolution with mirrored weights, which engines run much faster.
        pads = [spans[i % len(space)] - 1 - pad for i, pad in enumerate(op.pads)]
        mirrored = Conv(op.kernel, op.strides, tuple(pads), op.dilations, op.groups)
        turned = tape.derived(weight, f"mirrored {op.groups}", lambda array: _mirrored(op, array))
        return tape.apply(mirrored, gradient, turned)
    transposed = ConvTranspose(
        op.kernel, op.strides, op.pads, op.dilations, (0,) * len(space), op.groups
    )
    return tape.fold(gradient, weight, transposed, space)


def conv_transpose_gradient(tape: Tape, op: ConvTranspose, weight: str, gradient: str) -> str:
    """A convolution with the same weights."""
    conv = Conv(op.kernel, op.strides, op.pads, op.dilations, op.groups)
    return tape.apply(conv, gradient, weight)


def linear_gradient(tape: Tape, weight: str, gradient: str) -> str:
    """A product with the transposed weight."""
    transposed = tape.derived(weight, "transposed", np.transpose)
    return tape.apply(Linear(), gradient, transposed)


def matmul_gradient(tape: Tape, inputs: tuple[str, ...], index: int, gradient: str) -> str:
    """`g @ b^T` or `a^T @ g`, summed over leading axes that were broadcast."""
    other = inputs[1 - index]
    rank = len(tape.shape(other))
    swapped = tape.apply(Transpose((*range(rank - 2), rank - 1, rank - 2)), other)
    operands = (gradient, swapped) if index == 0 else (swapped, gradient)
    return tape.sum_to(tape.apply(MatMul(), *operands), tape.shape(inputs[index]))


def _mirrored(op: Conv, array: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Weights [O, C/g, k...] as [C, O/g, k...] with every kernel axis turned round."""
    outputs, channels = array.shape[:2]
    grouped = array.reshape(op.groups, outputs // op.groups, channels, *op.kernel)
    swapped = np.swapaxes(grouped, 1, 2)
    flipped = np.flip(swapped, tuple(range(3, 3 + len(op.kernel))))
    return flipped.reshape(op.groups * channels, outputs // op.groups, *op.kernel)
