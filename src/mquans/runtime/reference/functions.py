"""Elementwise functions and reductions of the reference network."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from mquans.graph import BinaryKind, ReduceKind, Unary

Array = npt.NDArray[Any]

_erf = np.frompyfunc(math.erf, 1, 1)


def erf(x: Array) -> Array:
    return np.asarray(_erf(x), x.dtype)


def sigmoid(x: Array) -> Array:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * x)))


def softplus(x: Array) -> Array:
    return np.asarray(np.logaddexp(0.0, x))


def clip(x: Array, low: float, high: float) -> Array:
    """As ONNX: where the bounds cross, the upper one wins."""
    return np.asarray(np.minimum(np.maximum(x, low), high))


def hard_sigmoid(x: Array, alpha: float = 1 / 6, beta: float = 0.5) -> Array:
    return clip(alpha * x + beta, 0.0, 1.0)


def selu(x: Array, alpha: float, gamma: float) -> Array:
    return gamma * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def gelu_tanh(x: Array) -> Array:
    return np.asarray(0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))


UNARY: dict[str, Callable[..., Any]] = {
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x, alpha: np.where(x >= 0, x, alpha * x),
    "clip": clip,
    "sigmoid": sigmoid,
    "silu": lambda x: x * sigmoid(x),
    "hard_sigmoid": hard_sigmoid,
    "hard_swish": lambda x: x * hard_sigmoid(x),
    "tanh": np.tanh,
    "elu": lambda x, alpha: np.where(x >= 0, x, alpha * np.expm1(np.minimum(x, 0))),
    "selu": selu,
    "gelu": lambda x: 0.5 * x * (1 + erf(x * math.sqrt(0.5))),
    "gelu_tanh": gelu_tanh,
    "softplus": softplus,
    "mish": lambda x: x * np.tanh(softplus(x)),
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "abs": np.abs,
    "neg": np.negative,
    "reciprocal": np.reciprocal,
    "erf": erf,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.rint,
    "sign": np.sign,
    "softsign": lambda x: x / (1 + np.abs(x)),
    "sin": np.sin,
    "cos": np.cos,
    "quantize": lambda x, low, high: clip(np.rint(x), low, high),
}

BINARY: dict[BinaryKind, Callable[[Array, Array], Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "max": np.maximum,
    "min": np.minimum,
    "pow": np.power,
    "prelu": lambda x, slope: np.where(x >= 0, x, x * slope),
    "equal": np.equal,
    "less": np.less,
    "mask": lambda x, mask: np.where(mask != 0, x, 0),
}

REDUCE: dict[ReduceKind, Callable[[Array, tuple[int, ...], bool], Any]] = {
    "mean": lambda x, axes, keep: x.mean(axes, keepdims=keep),
    "sum": lambda x, axes, keep: x.sum(axes, keepdims=keep),
    "max": lambda x, axes, keep: x.max(axes, keepdims=keep),
    "min": lambda x, axes, keep: x.min(axes, keepdims=keep),
    "prod": lambda x, axes, keep: x.prod(axes, keepdims=keep),
    "l1": lambda x, axes, keep: np.abs(x).sum(axes, keepdims=keep),
    "l2": lambda x, axes, keep: np.sqrt(np.square(x).sum(axes, keepdims=keep)),
    "sum_square": lambda x, axes, keep: np.square(x).sum(axes, keepdims=keep),
}


def unary(op: Unary, x: Array) -> Array:
    """The function applied to every value."""
    return np.asarray(UNARY[op.kind](x, *op.params))
