"""Recurrence in plain numpy, time step by time step."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from mquans.graph import Recurrence
from mquans.runtime.reference.functions import unary

Array = npt.NDArray[Any]


def recurrence(
    op: Recurrence, p: Array | None, weight: Array | None, bias: Array | None = None,
    h: Array | None = None, c: Array | None = None, peepholes: Array | None = None,
) -> list[Array]:  # fmt: skip
    """Outputs of a Recurrence; inputs as the operator names them, None where absent."""
    assert p is not None
    assert weight is not None
    steps, batch, _ = p.shape
    hidden = weight.shape[0]
    h = np.zeros((batch, hidden), p.dtype) if h is None else h
    c = np.zeros((batch, hidden), p.dtype) if c is None else c
    y = np.zeros((steps, batch, hidden), p.dtype)
    lengths = np.array(op.lengths or [steps] * batch)
    for t in reversed(range(steps)) if op.reverse else range(steps):
        runs = (t < lengths)[:, None]
        next_h, next_c = _step(op, p[t], weight, bias, h, c, peepholes)
        h, c = np.where(runs, next_h, h), np.where(runs, next_c, c)
        y[t] = np.where(runs, h, 0.0)
    return [y, h, c] if op.kind == "lstm" else [y, h]


def _step(
    op: Recurrence, p: Array, weight: Array, bias: Array | None, h: Array, c: Array,
    peepholes: Array | None,
) -> tuple[Array, Array]:  # fmt: skip
    bound = math.inf if op.clip is None else op.clip

    def gate(which: int, values: Array) -> Array:
        return unary(op.activations[which], np.clip(values, -bound, bound))

    product = h @ weight + (0.0 if bias is None else bias)
    hidden = h.shape[1]
    if op.kind == "rnn":
        return gate(0, p + product), c
    if op.kind == "gru":
        update, reset = np.split(gate(0, (p + product)[:, : 2 * hidden]), 2, axis=1)
        last = slice(2 * hidden, None)
        recurrent = reset * product[:, last] if op.reset_after else (reset * h) @ weight[:, last]
        fresh = gate(1, p[:, last] + recurrent)
        return (1.0 - update) * fresh + update * h, c
    i, o, f, g = np.split(p + product, 4, axis=1)
    peep = np.zeros((3, hidden)) if peepholes is None else peepholes.reshape(3, hidden)
    c = gate(0, f + peep[2] * c) * c + gate(0, i + peep[0] * c) * gate(1, g)
    return gate(0, o + peep[1] * c) * unary(op.activations[2], c), c
