"""The integers of depthwise layers, whose sums are computed one of two ways, every `BLOCK` channels
theirs (DepthwiseSums in codes.h)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mquans.runtime.lowering.sites.arithmetic import (
    HEADROOM,
    LARGEST_WEIGHT,
    ONE,
    Codes,
    Ints,
    Reals,
    integer_layer,
    quantized_layer,
    whole_weights,
)

BLOCK = 32
"""Channels that are computed one way."""

MOST_ROUNDED = 36
"""Products that may be rounded, four times as many where sums are doubled: what rounding them adds
to a code is then no more than 3 in the mean of its square."""


@dataclass(frozen=True, slots=True)
class DepthwiseLayer:
    """Attributes:
    weights: [C, taps] int16; of narrow channels factors of products that round.
    bias: [C] int32, of wide channels with what rounds the sum.
    shift: [C] int32, to the right; 1 of narrow channels whose sums are doubled.
    narrow: [C / BLOCK, rounded up] uint8, whether these channels are.
    scaled: the shifts of wide channels hold the bits of floats.
    """

    weights: npt.NDArray[np.int16]
    bias: npt.NDArray[np.int32]
    shift: npt.NDArray[np.int32]
    narrow: npt.NDArray[np.uint8]
    scaled: bool = False


def depthwise_layer(
    weight: Reals, bias: Reals, x: Codes, y_exponents: Ints, *, quantized: bool, where: str
) -> DepthwiseLayer:
    """Integers of weights [C, taps] and a bias [C].

    Args:
        quantized: results are whole steps of 8 bits, for which products that round are too coarse.
        where: the layer, for errors.
    """
    channels = len(weight)
    numbers = (weight[:, None], bias, x.unit[:, None], y_exponents, x.limit)
    if quantized:
        none = np.zeros(-(-channels // BLOCK), np.uint8)
        layer = quantized_layer(*numbers, tiled=False) or integer_layer(*numbers, where=where)
        return DepthwiseLayer(layer.weights[:, 0], layer.bias, layer.shift, none, layer.scaled)
    factors, start, shift = _narrow(weight, bias, x, y_exponents)
    fit = (shift <= 1) & (weight.shape[1] * 4.0**shift <= MOST_ROUNDED)
    narrow = np.logical_and.reduceat(fit, np.arange(0, channels, BLOCK))
    if not narrow.all():
        layer = integer_layer(*numbers, where=where)
        wide = ~narrow.repeat(BLOCK)[:channels]
        factors[wide] = layer.weights[wide, 0]
        start[wide], shift[wide] = layer.bias[wide], layer.shift[wide]
    return DepthwiseLayer(factors, start, shift, narrow.astype(np.uint8))


def _narrow(
    weight: Reals, bias: Reals, x: Codes, y_exponents: Ints
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Factors, bias and by how much coarser sums are, the least for which factors fit and neither
    the sum of even taps nor that of odd ones saturates for inputs that calibration has seen."""
    y_unit = np.exp2(y_exponents.astype(np.float64))
    factors, start = weight * (x.unit / y_unit)[:, None] * ONE, bias / y_unit
    seen = x.limit / HEADROOM / ONE
    even = np.abs(factors[:, ::2]).sum(axis=1) * seen + np.abs(start)
    odd = np.abs(factors[:, 1::2]).sum(axis=1) * seen
    # Rounding may add one to a factor.
    peak = np.abs(factors).max(axis=1) * LARGEST_WEIGHT / (LARGEST_WEIGHT - 1)
    most = np.maximum.reduce([even, odd, peak, np.ones(len(weight))])
    shift = np.ceil(np.log2(most / LARGEST_WEIGHT)).clip(0, 2).astype(np.int32)
    gain = np.exp2(shift)
    whole = whole_weights((factors / gain[:, None])[:, None]).clip(-LARGEST_WEIGHT, LARGEST_WEIGHT)
    return (
        whole.astype(np.int16)[:, 0],
        np.rint(start / gain).clip(-ONE, ONE - 1).astype(np.int32),
        shift,
    )
