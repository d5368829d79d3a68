"""Gradients of operators that move values: what was copied is summed, what was left out is 0."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mquans.calibration.gradients.tape import Shape, Tape
from mquans.graph import Pad, Resize, Slice, Transpose, axis_taps


def concat_gradient(
    tape: Tape, inputs: tuple[str, ...], axis: int, index: int, gradient: str
) -> str:
    """The input's part of the gradient."""
    shape = tape.shape(inputs[index])
    start = sum(tape.shape(value)[axis] for value in inputs[:index])
    starts = tuple(start if i == axis else 0 for i in range(len(shape)))
    return tape.crop(gradient, starts, shape)


def slice_gradient(tape: Tape, op: Slice, shape: Shape, gradient: str) -> str:
    """The gradient with zeros around it and between its values."""
    begins, ends = [0] * len(shape), [0] * len(shape)
    for axis, (start, stop, step) in enumerate(zip(op.starts, op.stops, op.steps, strict=True)):
        taken = range(start, stop, step)
        if step == 1:
            begins[axis], ends[axis] = start, shape[axis] - start - len(taken)
        else:
            gradient = tape.scatter(gradient, axis, taken, shape[axis])
    return tape.pad(gradient, tuple(begins), tuple(ends))


def pad_gradient(tape: Tape, op: Pad, shape: Shape, gradient: str) -> str:
    """The gradient without its border; a border of copies is added to what was copied."""
    begins = op.pads[: len(shape)]
    if op.mode == "constant":
        return tape.crop(gradient, begins, shape)
    for axis, size in enumerate(shape):
        width = (op.pads[axis], op.pads[len(shape) + axis])
        if any(width):
            source = np.pad(np.arange(size), width, mode=op.mode)
            gradient = tape.scatter(gradient, axis, source.tolist(), size)
    return gradient


def resize_gradient(tape: Tape, op: Resize, shape: Shape, gradient: str) -> str:
    """The transposed interpolation, axis by axis."""
    for axis, size in enumerate(shape):
        if op.sizes[axis] != size or op.scales[axis] != 1.0:
            gradient = tape.along(gradient, axis, resize_matrix(op, axis, size).T)
    return gradient


def resize_matrix(op: Resize, axis: int, size: int) -> npt.NDArray[np.float64]:
    """Resize along one axis as a matrix [out, size]."""
    indices, weights = axis_taps(op, axis, size)
    matrix = np.zeros((len(indices), size))
    np.add.at(matrix, (np.arange(len(indices))[:, None], indices), weights)
    return matrix


def transpose_gradient(tape: Tape, perm: tuple[int, ...], gradient: str) -> str:
    """The inverse permutation."""
    return tape.apply(Transpose(tuple(int(i) for i in np.argsort(perm))), gradient)
