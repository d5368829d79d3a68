"""From a plan's numbers to the engine's integers: weights, grids and the reuse rule."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mquans.plan import LayerPlan, Rule

ACCUMULATOR_MAX = 2**31 - 1

QUANTIZED = 255
"""Largest weight of 8 bits."""

SAMPLE = 64
"""Weights of an output that its unit is looked for in."""

FEW = 8
"""Outputs that are looked at first."""

LARGEST_BYTE = 127

LEAST_DEPLOYED = 8
"""Inputs of a layer whose weights may have been deployed in 8 bits; a few are multiples of
something by chance."""


def grid_limit(grid_bits: int) -> int:
    """Largest grid value: 3.5 times the calibrated range, since calibration seldom saw everything.

    It is a multiple of every step, so that rounding does not leave the grid, and the difference of
    two held values fits 16 bits.
    """
    return int(7 * 2 ** (grid_bits - 1))


@dataclass(frozen=True, slots=True)
class IntegerWeights:
    """Weights of a layer on integer scales, one scale per output channel.

    Attributes:
        values: [O, inputs...] int16, `weight ~ values * scale[o]`.
        scale: [O] float64, greater than 0.
    """

    values: npt.NDArray[np.int16]
    scale: npt.NDArray[np.float64]


def multiples(
    flat: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]] | None:
    """Weights [O, inputs] that were deployed in 8 bits, sign aside.

    Returns:
        ([O, inputs] whole numbers, [O] what they are multiplied by), or None where weights are not
        multiples of one number per output.
    """
    if len(flat) > FEW and multiples(flat[:FEW]) is None:
        return None
    peak = np.abs(flat).max(axis=1, initial=0.0)
    peak[peak == 0] = 1.0
    count = min(SAMPLE, flat.shape[1])
    # The largest: of small ones, and of zeros, many are multiples of any number.
    sample = -np.partition(-np.abs(flat), count - 1, axis=1)[:, :count] / peak[:, None]
    steps = np.zeros(len(flat), np.int64)
    for number in range(QUANTIZED, 0, -1):
        fits = np.abs(sample * number - np.rint(sample * number)).max(axis=1) < 0.25 / QUANTIZED
        steps[fits] = number
    if not steps.all():
        return None
    whole = np.rint(flat / peak[:, None] * steps[:, None])
    squares = np.square(whole).sum(axis=1)
    # Of all weights, since each has been rounded a few times.
    unit = np.where(squares > 0, (flat * whole).sum(axis=1) / np.maximum(squares, 1), 2.0**-20)
    exact = np.abs(flat - whole * unit[:, None]).max(axis=1, initial=0.0) < unit / QUANTIZED
    return (whole.astype(np.int64), unit) if exact.all() and (unit > 0).all() else None


def deployed_weights(weight: npt.NDArray[np.generic]) -> IntegerWeights | None:
    """Weights [O, inputs...] as the bytes that they were deployed as; None where they were not."""
    flat = weight.reshape(len(weight), -1).astype(np.float64)
    found = multiples(flat) if flat.shape[1] >= LEAST_DEPLOYED else None
    if found is None or np.abs(found[0]).max(initial=0) > LARGEST_BYTE:
        return None
    return IntegerWeights(found[0].astype(np.int16).reshape(weight.shape), found[1])


def quantize_weights(
    weight: npt.NDArray[np.floating], *, bits: int, grid_bits: int
) -> IntegerWeights:
    """Rounds weights [O, inputs...] to the widest integers that cannot overflow an accumulator.

    The scale of an output channel is the smallest with `max|W| <= 2**(bits-1) - 1` and
    `sum|W| * grid_limit < 2**31` (design, section 3, step 4), so overflow is impossible by
    construction. Weights that were deployed in 8 bits are these, if they fit.
    """
    flat = weight.reshape(weight.shape[0], -1).astype(np.float64)
    largest = 2 ** (bits - 1) - 1
    limit = ACCUMULATOR_MAX // grid_limit(grid_bits)
    deployed = deployed_weights(weight) if bits == 8 else None
    if deployed is not None:
        sums = np.abs(deployed.values.reshape(flat.shape)).sum(axis=1)
        if sums.max(initial=0) <= limit:
            return deployed
    magnitude = np.abs(flat)
    peak = magnitude.max(axis=1, initial=0.0)
    # Rounding adds at most one half per weight to the sum.
    spare = max(limit - flat.shape[1] / 2, limit / 2)
    scale = np.maximum(peak / largest, magnitude.sum(axis=1) / spare)
    scale[scale == 0] = 1.0
    values = np.rint(flat / scale[:, None])
    while True:
        total = np.abs(values).sum(axis=1)
        over = total > limit
        if not over.any():
            break
        scale[over] *= 1.0 + 1.0 / 64
        values[over] = np.rint(flat[over] / scale[over, None])
    return IntegerWeights(values.astype(np.int16).reshape(weight.shape), scale)


@dataclass(frozen=True, slots=True)
class RuleTables:
    """The reuse rule of every neuron as the kernels read it: a grid value g becomes
    `q = (g + offset) & mask` and the held value moves to q when `|q - held| > threshold`."""

    offset: npt.NDArray[np.int16]
    mask: npt.NDArray[np.int16]
    threshold: npt.NDArray[np.int16]


def steps(layer: LayerPlan, grid_bits: int, neurons: int) -> npt.NDArray[np.int64]:
    """Step of every neuron in grid units: `2 ** (grid_bits - bits)`, shape [neurons]."""
    bits = np.broadcast_to(np.asarray(layer.bits, dtype=np.int64), (neurons,))
    return np.left_shift(np.int64(1), grid_bits - bits)


def rule_tables(rule: Rule, step: npt.NDArray[np.int64]) -> RuleTables:
    """Tables of `hold` (dead band of half a step) or `nearest` (multiples of a step)."""
    half = step // 2
    zero = np.zeros_like(step)
    columns = (zero, zero - 1, half) if rule == "hold" else (half, -step, zero)
    return RuleTables(*(column.astype(np.int16) for column in columns))


def deltas(layer: LayerPlan, neurons: int) -> npt.NDArray[np.float64]:
    """Grid unit of every neuron in units of the layer's input, shape [neurons]."""
    return np.broadcast_to(np.asarray(layer.delta, dtype=np.float64), (neurons,))
