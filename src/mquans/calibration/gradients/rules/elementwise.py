"""Slopes of elementwise functions.

At a kink the slope is one of the two sides' or between them, and never infinite: a square root has
slope 0 at 0. Rounding functions have the slope of their trend, 1: their own is 0 almost everywhere
and would say that nothing before them matters.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from mquans.calibration.gradients.tape import Operand, Tape
from mquans.graph import BinaryKind, Node, Unary

TINY = 1e-30
"""Least base of a logarithm in the gradient at an exponent."""

ERF_SLOPE = 2 / math.sqrt(math.pi)
"""Of the error function at 0."""


def unary_gradient(tape: Tape, op: Unary, x: str, y: str, gradient: str) -> str:
    """`g * f'(x)`"""
    if op.kind in ("floor", "ceil", "round"):
        return gradient
    if op.kind == "neg":
        return tape.unary("neg", gradient)
    return tape.mul(gradient, SLOPES[op.kind](tape, x, y, op.params))


def binary_gradient(tape: Tape, kind: BinaryKind, node: Node, index: int, gradient: str) -> str:
    """The gradient at one operand, summed over axes that were broadcast."""
    a, b = node.inputs
    part = (_left if index == 0 else _right)(tape, kind, a, b, node.outputs[0], gradient)
    return tape.sum_to(part, tape.shape(node.inputs[index]))


def _left(tape: Tape, kind: BinaryKind, a: str, b: str, y: str, g: str) -> str:
    match kind:
        case "add" | "sub":
            return g
        case "mul":
            return tape.mul(g, b)
        case "div":
            return tape.div(g, b)
        case "pow":
            return tape.mul(g, tape.mul(b, tape.binary("pow", a, tape.sub(b, 1.0))))
        case "prelu":
            return tape.mul(g, tape.select(tape.positive(a), 1.0, b))
        case "max" | "min":
            return tape.mul(g, _wins(tape, kind, a, b))
        case "mask":
            return tape.binary("mask", g, b)
        case "equal" | "less":
            raise TypeError(f"{kind} has no derivative")


def _right(tape: Tape, kind: BinaryKind, a: str, b: str, y: str, g: str) -> str:
    match kind:
        case "add":
            return g
        case "sub":
            return tape.unary("neg", g)
        case "mul":
            return tape.mul(g, a)
        case "div":
            return tape.unary("neg", tape.mul(g, tape.div(y, b)))
        case "pow":
            return tape.mul(g, tape.mul(y, tape.unary("log", tape.binary("max", a, TINY))))
        case "prelu":
            return tape.mul(g, tape.binary("min", a, 0.0))
        case "max" | "min":
            return tape.mul(g, _wins(tape, kind, b, a))
        case "mask":
            return tape.mul(g, 0.0)
        case "equal" | "less":
            raise TypeError(f"{kind} has no derivative")


def _wins(tape: Tape, kind: BinaryKind, mine: str, other: str) -> str:
    """1 where this operand is the result, 1/2 where both are."""
    lead = tape.sub(mine, other) if kind == "max" else tape.sub(other, mine)
    return tape.add(tape.mul(tape.unary("sign", lead), 0.5), 0.5)


Params = tuple[float, ...]
Slope = Callable[[Tape, str, str, Params], str]
"""`f'(x)` from `x`, `y = f(x)` and the function's parameters."""


def _clip(tape: Tape, x: str, y: str, params: Params) -> str:
    low, high = params
    inside: Operand = 1.0
    if not math.isinf(low):
        inside = tape.positive(tape.sub(x, low))
    if not math.isinf(high):
        below = tape.positive(tape.sub(high, x))
        inside = below if inside == 1.0 else tape.mul(inside, below)
    return inside if isinstance(inside, str) else tape.constant(1.0)


def _silu(tape: Tape, x: str, y: str, params: Params) -> str:
    gate = tape.unary("sigmoid", x)
    return tape.add(gate, tape.mul(y, tape.sub(1.0, gate)))


def _hard_sigmoid(tape: Tape, x: str, y: str, params: Params) -> str:
    alpha = params[0] if params else 1 / 6
    return tape.mul(tape.mul(tape.positive(y), tape.positive(tape.sub(1.0, y))), alpha)


def _hard_swish(tape: Tape, x: str, y: str, params: Params) -> str:
    gate = tape.unary("hard_sigmoid", x, 1 / 6, 0.5)
    return tape.add(gate, tape.mul(x, _hard_sigmoid(tape, x, gate, ())))


def _selu(tape: Tape, x: str, y: str, params: Params) -> str:
    alpha, gamma = params
    return tape.select(tape.positive(x), gamma, tape.add(y, gamma * alpha))


def _gelu(tape: Tape, x: str, y: str, params: Params) -> str:
    half = tape.mul(tape.unary("erf", tape.mul(x, math.sqrt(0.5))), 0.5)
    bell = tape.unary("exp", tape.mul(tape.mul(x, x), -0.5))
    return tape.add(tape.add(half, 0.5), tape.mul(x, tape.mul(bell, 1 / math.sqrt(2 * math.pi))))


def _gelu_tanh(tape: Tape, x: str, y: str, params: Params) -> str:
    """With `u = c (x + k x^3)`: `(1 + tanh u) / 2 + x (1 - tanh^2 u) c (1 + 3 k x^2) / 2`."""
    c, k = math.sqrt(2 / math.pi), 0.044715
    square = tape.mul(x, x)
    inner = tape.mul(tape.mul(x, c), tape.add(tape.mul(square, k), 1.0))
    value = tape.unary("tanh", inner)
    slope = tape.mul(_tanh(tape, inner, value, ()), tape.add(tape.mul(square, 3 * k * c), c))
    return tape.mul(tape.add(tape.add(value, 1.0), tape.mul(x, slope)), 0.5)


def _mish(tape: Tape, x: str, y: str, params: Params) -> str:
    value = tape.unary("tanh", tape.unary("softplus", x))
    slope = tape.mul(_tanh(tape, x, value, ()), tape.unary("sigmoid", x))
    return tape.add(value, tape.mul(x, slope))


def _tanh(tape: Tape, x: str, y: str, params: Params) -> str:
    return tape.sub(1.0, tape.mul(y, y))


def _sqrt(tape: Tape, x: str, y: str, params: Params) -> str:
    return tape.div(tape.mul(tape.unary("sign", y), 0.5), tape.add(y, tape.is_zero(y)))


def _softsign(tape: Tape, x: str, y: str, params: Params) -> str:
    scale = tape.add(tape.unary("abs", x), 1.0)
    return tape.unary("reciprocal", tape.mul(scale, scale))


SLOPES: dict[str, Slope] = {
    "relu": lambda t, x, y, p: t.unary("sign", y),
    "leaky_relu": lambda t, x, y, p: t.select(t.positive(x), 1.0, p[0]),
    "clip": _clip,
    "sigmoid": lambda t, x, y, p: t.mul(y, t.sub(1.0, y)),
    "silu": _silu,
    "hard_sigmoid": _hard_sigmoid,
    "hard_swish": _hard_swish,
    "tanh": _tanh,
    "elu": lambda t, x, y, p: t.select(t.positive(x), 1.0, t.add(y, p[0])),
    "selu": _selu,
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "softplus": lambda t, x, y, p: t.unary("sigmoid", x),
    "mish": _mish,
    "exp": lambda t, x, y, p: y,
    "log": lambda t, x, y, p: t.unary("reciprocal", x),
    "sqrt": _sqrt,
    "abs": lambda t, x, y, p: t.unary("sign", x),
    "reciprocal": lambda t, x, y, p: t.unary("neg", t.mul(y, y)),
    "erf": lambda t, x, y, p: t.mul(t.unary("exp", t.unary("neg", t.mul(x, x))), ERF_SLOPE),
    "softsign": _softsign,
    "sin": lambda t, x, y, p: t.unary("cos", x),
    "cos": lambda t, x, y, p: t.unary("neg", t.unary("sin", x)),
    "quantize": _clip,
}
