"""Gradients of reductions and normalisations."""

from __future__ import annotations

import math

from mquans.calibration.gradients.tape import Tape
from mquans.graph import LayerNorm, Reduce


def reduce_gradient(tape: Tape, op: Reduce, x: str, y: str, gradient: str) -> str:
    """The gradient of every reduced value, spread over what it was made of."""
    shape = tape.shape(x)
    kept = tuple(1 if axis in op.axes else size for axis, size in enumerate(shape))
    g, y = tape.reshape(gradient, kept), tape.reshape(y, kept)
    match op.kind:
        case "sum":
            return tape.expand(g, shape)
        case "mean":
            count = math.prod(shape[axis] for axis in op.axes)
            return tape.expand(tape.mul(g, 1.0 / count), shape)
        case "l1":
            return tape.mul(g, tape.unary("sign", x))
        case "sum_square":
            return tape.mul(tape.mul(g, 2.0), x)
        case "l2":
            # Where the norm is 0 all of x is, and so is this quotient.
            return tape.mul(g, tape.div(x, tape.add(y, tape.is_zero(y))))
        case "max" | "min":
            equal = tape.is_zero(tape.sub(x, y))
            return tape.mul(equal, tape.div(g, tape.reduce("sum", equal, op.axes)))
        case "prod":
            return tape.mul(g, _other_factors(tape, op, x))


def softmax_gradient(tape: Tape, axis: int, log: bool, y: str, gradient: str) -> str:
    """`y (g - sum g y)`; of the logarithm `g - exp(y) sum g`."""
    if log:
        total = tape.reduce("sum", gradient, (axis,))
        return tape.sub(gradient, tape.mul(tape.unary("exp", y), total))
    total = tape.reduce("sum", tape.mul(gradient, y), (axis,))
    return tape.mul(y, tape.sub(gradient, total))


def layer_norm_gradient(tape: Tape, op: LayerNorm, x: str, scale: str, gradient: str) -> str:
    """With `n` the normalised input and `h = g * scale`: `(h - mean h - n mean(h n)) / sigma`.

    Source: Ba, Kiros, Hinton 2016 (arXiv 1607.06450), supplement.
    """
    axes = tuple(range(op.axis, len(tape.shape(x))))
    deviation = tape.sub(x, tape.reduce("mean", x, axes))
    variance = tape.reduce("mean", tape.mul(deviation, deviation), axes)
    sigma = tape.unary("sqrt", tape.add(variance, op.epsilon))
    normal = tape.div(deviation, sigma)
    h = tape.mul(gradient, scale)
    along = tape.mul(normal, tape.reduce("mean", tape.mul(h, normal), axes))
    return tape.div(tape.sub(tape.sub(h, tape.reduce("mean", h, axes)), along), sigma)


def _other_factors(tape: Tape, op: Reduce, x: str) -> str:
    """For every factor the product of the others, also where some are 0."""
    zero = tape.is_zero(x)
    filled = tape.add(x, zero)
    product = tape.div(tape.reduce("prod", filled, op.axes), filled)
    others = tape.sub(tape.reduce("sum", zero, op.axes), zero)
    return tape.mul(product, tape.is_zero(others))
