"""From exponents and gates of a plan to the integers of the kernels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mquans import _native
from mquans.errors import PlanError
from mquans.plan import GatePlan, TensorPlan
from mquans.runtime.lowering.quantization import multiples

ACCUMULATOR_MAX = 2**31 - 1
LARGEST_WEIGHT = 2**15 - 1
LARGEST_SHIFT = 30
LEAST_WIDTH = 8
"""Of codes that a plan may speak of."""

HEADROOM = 4
"""Of codes, over the largest values that calibration has seen (design, section 3)."""

REST = 2**40
"""Parts of one that what rounding leaves is counted in."""

ONE = 2**15
"""Of products that round: a factor w stands for w / ONE."""

TILED_LIMIT = 2**13 - 1
"""Of codes four of which a layer by tiles adds in 16 bits."""

WINOGRAD = np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]])
"""Twice the matrix that transforms weights of tiles."""

WHOLE_BIAS = 0.1
"""Of one, how far a bias may be from a whole number for what floats have made of it."""

BIAS_ROUNDING = 2.0**-23
"""Of a bias, what it may be further for being a float: of millions not even halves are left."""

MOST_PLACES = 7
"""Binary places that quantized weights get where a bias is not whole."""

TILED_WEIGHT_BITS = 8
"""Of the widest weight of most output channels, sign included, that a layer by tiles is to keep."""

PRECISE_GAIN = 8.0
"""Weighted change that opens a gate, from which on rounding it to integers does not matter."""

BLOCK = 4
"""Pixels of a picture's planes that the engine compares and takes together, two by two."""

Ints = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Codes:
    """Exponents and limit of one tensor, channel by channel.

    Attributes:
        exponents: [channels]; a code c stands for `c * 2**exponent`.
        limit: largest magnitude of a code, of all channels.
    """

    exponents: Ints
    limit: int

    @property
    def unit(self) -> Reals:
        """Value of one code, by channel."""
        return np.exp2(self.exponents.astype(np.float64))

    def take(self, channels: list[int] | range) -> Codes:
        """Those of some of the channels."""
        return Codes(self.exponents[list(channels)], self.limit)

    @staticmethod
    def joined(parts: list[Codes]) -> Codes:
        """Those of a concatenation, in which every channel keeps its exponent."""
        exponents = np.concatenate([part.exponents for part in parts])
        return Codes(exponents, max(part.limit for part in parts))


def codes_of(plan: TensorPlan, channels: int) -> Codes:
    """The codes that a plan gives a tensor.

    Raises:
        PlanError: the plan has another number of channels.
    """
    for values in (plan.exponents, plan.gate.scale if plan.gate else 1.0):
        if isinstance(values, tuple) and len(values) != channels:
            raise PlanError(
                f"the plan speaks of {len(values)} channels, but the tensor has {channels}.",
                where=plan.name,
                hint="Calibrate again with this model.",
            )
    exponents = np.broadcast_to(np.asarray(plan.exponents, np.int64), (channels,))
    return Codes(exponents, 2 ** (plan.bits - 1) - 1)


def sum_exponents(exponents: Ints, operand: Codes) -> Ints:
    """Exponents of a sum in which an operand's codes fit sixteen bits: terms may be larger than
    their sum. Finer ones would hold no more than the operands do."""
    headroom = (LARGEST_WEIGHT + 1) // (operand.limit + 1)
    return np.maximum(exponents, operand.exponents - int(math.log2(headroom)))


def factor_exponents(factor: Reals) -> Ints:
    """The finest that factors of fifteen bits can have."""
    magnitude = np.maximum(np.abs(factor), 2.0**-60)
    return np.floor(np.log2(magnitude)).astype(np.int64) - 14


@dataclass(frozen=True, slots=True)
class IntegerLayer:
    """Weights of a layer over sites: `sum(weight * code) + bias >> shift` in output codes.

    Attributes:
        weights: [O, inputs...] int16.
        bias: [O] int32, with the rounding of the shift.
        shift: [O] int32; where sums are scaled instead, the bits of float32 factors below 1, and
            the bias has no rounding: `rint(float32(sum) * factor)`.
    """

    weights: npt.NDArray[np.int16]
    bias: npt.NDArray[np.int32]
    shift: npt.NDArray[np.int32]
    scaled: bool = False


def integer_layer(
    weight: Reals, bias: Reals, x_unit: Reals, y_exponents: Ints, x_limit: int, *, where: str
) -> IntegerLayer:
    """The widest integer weights that cannot overflow a 32-bit sum, whatever the codes.

    Args:
        weight: [O, inputs, taps...].
        x_unit: [O, inputs] value of a code of every input, as each output sees them.
        where: the layer's name, for messages.

    Raises:
        PlanError: an output's codes are too fine for its inputs.
    """
    scaled, start = _in_codes(weight, bias, x_unit, y_exponents)
    peak = np.abs(scaled).reshape(len(weight), -1).max(axis=1, initial=0.0)
    shift = _widest_shift(scaled, start, x_limit, peak, ACCUMULATOR_MAX)
    if (shift < 0).any():
        raise PlanError(
            f"the codes of output channel {int(np.argmin(shift))} are too fine for the layer's "
            "inputs: a sum would overflow.",
            where=where,
            hint="Calibrate again.",
        )
    return _rounded(scaled, start, shift)


def tiled_layer(
    weight: Reals, bias: Reals, x_unit: Reals, y_exponents: Ints, x_limit: int
) -> IntegerLayer | None:
    """The same of a 3x3 convolution that may be computed by tiles of two by two outputs (Winograd's
    F(2x2, 3x3), see WinogradArgs in codes.h): transformed weights fit 16 bits, fourfold sums 32.
    None where codes or weights leave no room for that.

    Args:
        weight: [O, inputs, 3, 3].
    """
    if x_limit > TILED_LIMIT:
        return None
    scaled, start = _in_codes(weight, bias, x_unit, y_exponents)
    transformed = np.abs(np.einsum("pi,qj,ocij->ocpq", WINOGRAD, WINOGRAD, scaled))
    peak = transformed.reshape(len(weight), -1).max(axis=1, initial=0.0)
    shift = _widest_shift(scaled, start, x_limit, peak, ACCUMULATOR_MAX / 4, 9)
    # The kernel shifts fourfold sums by two more.
    layer = _rounded(scaled, start, np.minimum(shift, LARGEST_SHIFT - 2))
    peak = np.abs(layer.weights.astype(np.int64)).reshape(len(weight), -1).max(axis=1)
    alive = scaled.any(axis=(1, 2, 3))
    wide = not alive.any() or np.percentile(peak[alive], 5) >= 2 ** (TILED_WEIGHT_BITS - 1)
    return layer if wide and (shift >= 0).all() else None


def quantized_layer(
    weight: Reals, bias: Reals, x_unit: Reals, y_exponents: Ints, x_limit: int, *, tiled: bool
) -> IntegerLayer | None:
    """The weights of 8 bits that a layer was deployed with, and what its sums are scaled by: as
    other engines have them, so that sums are the same and rounded once. None where weights are not
    multiples of one number per output, or would not fit.

    Args:
        tiled: it is to be computed by tiles.
    """
    scaled, start = _in_codes(weight, bias, x_unit, y_exponents)
    found = multiples(scaled.reshape(len(scaled), -1))
    if found is None:
        return None
    whole, unit = found[0].reshape(scaled.shape), found[1]
    start = start / unit
    transformed = np.einsum("pi,qj,ocij->ocpq", WINOGRAD, WINOGRAD, whole) if tiled else whole
    largest = np.abs(whole).reshape(len(whole), -1).sum(axis=1) * x_limit + np.abs(start) + 1
    room = min(
        ACCUMULATOR_MAX / (4 if tiled else 1) / largest.max(initial=1.0),
        LARGEST_WEIGHT / max(np.abs(transformed).max(initial=1.0), 1.0),
    )
    if room < 1 or (unit >= 1).any():
        return None
    places = 0
    if (np.abs(start - np.rint(start)) > WHOLE_BIAS + np.abs(start) * BIAS_ROUNDING).any():
        places = min(MOST_PLACES, int(math.log2(room)))
    return IntegerLayer(
        (whole * 2**places).astype(np.int16),
        np.rint(start * 2**places).astype(np.int32),
        (unit / 2**places).astype(np.float32).view(np.int32),
        scaled=True,
    )


def _in_codes(weight: Reals, bias: Reals, x_unit: Reals, y_exponents: Ints) -> tuple[Reals, Reals]:
    """Weights and bias in output codes per input code."""
    y_unit = np.exp2(y_exponents.astype(np.float64))
    ones = [1] * (weight.ndim - 2)
    scaled = weight * x_unit.reshape(*x_unit.shape, *ones)
    return scaled / y_unit.reshape(-1, 1, *ones), bias / y_unit


def _widest_shift(
    scaled: Reals, start: Reals, x_limit: int, peak: Reals, largest_sum: float, added: int = 1
) -> Ints:
    """[O] by how much every output's weights can be shifted left; negative where they do not fit.

    Args:
        peak: [O] the largest number that must fit 16 bits, and what rounding may add to it.
    """
    flat = np.abs(scaled).reshape(len(scaled), -1)
    # A unit per weight may be added by rounding, and half of the last bit by the shift.
    total = flat.sum(axis=1) * x_limit + np.abs(start) + 0.5
    limit = largest_sum - x_limit * flat.shape[1] - 1
    with np.errstate(divide="ignore"):
        widest = np.log2((LARGEST_WEIGHT - added) / peak)
        most = np.minimum(widest, np.log2(max(limit, 1) / total))
    return np.asarray(np.clip(np.floor(most), -1, LARGEST_SHIFT), np.int64)


def _rounded(scaled: Reals, start: Reals, shift: Ints) -> IntegerLayer:
    gain = np.exp2(shift.astype(np.float64))
    integers = whole_weights(scaled * gain.reshape(-1, *[1] * (scaled.ndim - 1)))
    half = np.where(shift > 0, np.exp2(shift - 1.0), 0.0)
    return IntegerLayer(
        integers.astype(np.int16),
        (np.rint(start * gain) + half).astype(np.int32),
        shift.astype(np.int32),
    )


def whole_weights(weights: Reals) -> Reals:
    """Weights [O, inputs, taps...] as whole numbers whose sum by output is kept to within one.
    Errors then cancel for what all inputs have in common, which is most of it in pictures and
    behind a ReLU.

    Over a window running sums are rounded, so that the errors of neighbours cancel: pictures are
    smooth. Without one, so many weights are rounded the other way, those nearest the middle first.
    """
    flat = weights.reshape(len(weights), -1)
    if np.prod(weights.shape[2:]) > 1:
        sums = np.rint(np.cumsum(flat, axis=1))
        return np.diff(sums, axis=1, prepend=0.0).reshape(weights.shape)
    whole = np.rint(flat)
    if not flat.size:
        return whole.reshape(weights.shape)
    # In whole numbers, since sums of floats are not the same on all machines.
    rest = np.rint((flat - whole) * REST).astype(np.int64)
    missing = rest.sum(axis=1, keepdims=True)
    count, step = np.abs(missing) // REST, np.sign(missing)
    far = -step * rest
    # Sorting numbers is many times faster than sorting places; of equal ones the first are turned.
    last = np.take_along_axis(np.sort(far, axis=1), np.maximum(count - 1, 0), axis=1)
    before, level = far < last, far == last
    left = count - np.count_nonzero(before, axis=1, keepdims=True)
    turned = (count > 0) & (before | (level & (np.cumsum(level, axis=1) <= left)))
    return np.asarray(whole + step * turned).reshape(weights.shape)


@dataclass(frozen=True, slots=True)
class IntegerGate:
    """A site is taken once `sum(clamp(weight * change / ONE, largest)**2)` is beyond the limit.

    Attributes:
        weight: [channels] int16.
    """

    weight: npt.NDArray[np.int16]
    largest: int
    limit: int


def integer_gate(
    plan: GatePlan | None, tolerance: float, codes: Codes, together: int = 1
) -> IntegerGate:
    """A site is taken once the mean squared change, each channel's in its own scale, is beyond the
    tolerance; without a plan once anything differs.

    Args:
        together: sites that are compared and taken together.
    """
    channels = len(codes.exponents)
    largest = min(LARGEST_WEIGHT, math.isqrt(ACCUMULATOR_MAX // (channels * together)))
    if plan is None or tolerance == 0:
        return IntegerGate(np.full(channels, LARGEST_WEIGHT, np.int16), largest, 0)
    scale = np.broadcast_to(np.asarray(plan.scale, np.float64), (channels,))
    # Change of one code in units of the largest change that is held back; beyond the bounds nothing
    # opens the gate, or anything.
    with np.errstate(all="ignore"):
        share = codes.unit / (scale * tolerance * plan.factor * math.sqrt(channels * together))
    share = np.clip(share, 2.0**-60, 2.0**60)
    gain = min(largest / 2, LARGEST_WEIGHT / ONE / float(share.max()))
    # A few channels that open the gate by a single code must not cost the others their precision.
    gain = max(gain, min(PRECISE_GAIN, 1 / float(np.median(share))))
    weight = np.minimum(np.rint(share * gain * ONE), LARGEST_WEIGHT).astype(np.int16)
    return IntegerGate(weight, largest, int(gain**2))


def gate_of(plan: GatePlan | None, tolerance: float, codes: Codes, together: int = 1) -> Any:
    """The native form of `integer_gate`."""
    gate = integer_gate(plan, tolerance, codes, together)
    return _native.Gate(gate.weight, gate.largest, gate.limit)
