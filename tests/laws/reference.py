"""The arithmetic of the design, section 3, written down once more in plain numpy.

Nothing here comes from the engine but `quantize_weights`, which has laws of its own. Arrays are in
the axis order of ONNX; `O` = outputs, `C` = inputs, `g` = groups.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mquans.graph import Conv, ConvTranspose, Linear
from mquans.plan import LayerPlan
from mquans.runtime.lowering.quantization import IntegerWeights, quantize_weights

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]
Op = Conv | ConvTranspose | Linear


def per_neuron(values: float | Sequence[float], op: Op, rank: int) -> npt.NDArray[np.float64]:
    """Numbers of the plan, shaped to broadcast against the layer's input."""
    array = np.asarray(values, np.float64)
    if array.ndim == 0 or isinstance(op, Linear):
        return array
    return array.reshape(-1, *[1] * (rank - 2))


def held_after(
    held: Integers,
    x: Floats,
    layer: LayerPlan,
    op: Op,
    *,
    rule: str,
    grid_bits: int,
    keyframe: bool,
) -> Integers:
    """Held values after a frame: the grid, then `hold` or `nearest`."""
    inverse = (1.0 / per_neuron(layer.delta, op, x.ndim)).astype(np.float32)
    with np.errstate(over="ignore"):
        scaled = x.astype(np.float32) * inverse
    limit = 7 * 2 ** (grid_bits - 1)
    grid = np.clip(np.rint(scaled), -limit, limit).astype(np.int64)
    step = 2.0 ** (grid_bits - per_neuron(layer.bits, op, x.ndim))
    if rule == "nearest":
        return (step * np.floor(grid / step + 0.5)).astype(np.int64)
    return np.where(keyframe | (np.abs(grid - held) > step / 2), grid, held)


def scaled_weight(
    op: Op, weight: Floats, delta: float | Sequence[float]
) -> npt.NDArray[np.float64]:
    """Weights [O, C/g, kernel...] in units of the accumulator: a grid unit of neuron c is worth
    delta[c]."""
    w = np.asarray(weight, np.float64)
    if isinstance(op, Linear):
        return w.T * np.asarray(delta, np.float64)
    groups = op.groups
    if isinstance(op, ConvTranspose):
        channels, per_group, *kernel = w.shape
        split = w.reshape(groups, channels // groups, per_group, *kernel)
        w = np.concatenate([part.swapaxes(0, 1) for part in split])
    inputs = w.shape[1] * groups
    deltas = np.broadcast_to(np.asarray(delta, np.float64), (inputs,)).reshape(groups, -1)
    per_output = np.repeat(deltas, w.shape[0] // groups, axis=0)
    return w * per_output.reshape(*w.shape[:2], *[1] * (w.ndim - 2))


def integer_weights(op: Op, weight: Floats, layer: LayerPlan, grid_bits: int) -> IntegerWeights:
    """What the plan makes of a layer's weights."""
    scaled = scaled_weight(op, weight, layer.delta)
    return quantize_weights(scaled, bits=layer.weight_bits, grid_bits=grid_bits)


def product(op: Op, w: npt.NDArray[np.integer], q: Integers) -> Integers:
    """`W @ q`: weights [O, C/g, kernel...], held values [B, C, space...] or [..., K].

    Summed in float64, which holds integers up to 2**53 exactly; sums stay below 2**31 times the
    number of terms that cancel.
    """
    exact = _product(op, w.astype(np.float64), q.astype(np.float64))
    assert np.abs(exact).max(initial=0) < 2**53
    return exact.astype(np.int64)


def _product(
    op: Op, w: npt.NDArray[np.float64], q: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    if isinstance(op, Linear):
        return q @ w.T
    outputs, batch, axes = w.shape[0], q.shape[0], len(op.kernel)
    q = q.reshape(batch, op.groups, -1, *q.shape[2:])
    w = w.reshape(op.groups, -1, *w.shape[1:])
    begins, ends = op.pads[:axes], op.pads[axes:]
    space = q.shape[3:]
    spans = [d * (k - 1) + 1 for k, d in zip(op.kernel, op.dilations, strict=True)]
    if isinstance(op, Conv):
        q = np.pad(q, [(0, 0)] * 3 + list(zip(begins, ends, strict=True)))
        out = [
            (n - span) // s + 1 for n, span, s in zip(q.shape[3:], spans, op.strides, strict=True)
        ]
    else:
        out = [
            (n - 1) * s + span + extra
            for n, span, s, extra in zip(space, spans, op.strides, op.output_padding, strict=True)
        ]
    acc = np.zeros((batch, op.groups, outputs // op.groups, *out))
    for tap in itertools.product(*map(range, op.kernel)):
        first = [t * d for t, d in zip(tap, op.dilations, strict=True)]
        count = out if isinstance(op, Conv) else space
        window = (..., *(
            slice(f, f + (n - 1) * s + 1, s)
            for f, n, s in zip(first, count, op.strides, strict=True)
        ))  # fmt: skip
        read = q[window] if isinstance(op, Conv) else q
        flat = read.reshape(*read.shape[:3], -1)
        part = (w[(..., *tap)] @ flat).reshape(batch, op.groups, -1, *read.shape[3:])
        if isinstance(op, Conv):
            acc += part
        else:
            acc[window] += part
    acc = acc.reshape(batch, outputs, *out)
    if isinstance(op, ConvTranspose):
        # Output padding only makes room behind the last tap; pads are cut off afterwards.
        keep = [slice(b, n - e) for b, e, n in zip(begins, ends, out, strict=True)]
        acc = acc[(slice(None), slice(None), *keep)]
    return acc


def macs(op: Op, weight_shape: Sequence[int], inputs: npt.NDArray[np.bool_]) -> int:
    """Multiplications that the marked inputs cause: outputs reached times outputs per group."""
    return int(product(op, np.ones(weight_shape, np.int64), inputs.astype(np.int64)).sum())
