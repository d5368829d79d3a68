"""Functions behind layers as integers of the kernels: clamps, lines, tables of quadratics."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from mquans import _native
from mquans.errors import PlanError
from mquans.graph import Unary
from mquans.runtime.lowering.sites.arithmetic import (
    LARGEST_WEIGHT,
    LEAST_WIDTH,
    ONE,
    Codes,
    Ints,
    Reals,
)

NONE, SLOPE, GATE, CURVE, ELU, LOOKUP = range(6)
"""The native enumeration of activations."""

CURVES = frozenset({"sigmoid", "tanh", "hard_sigmoid"})
"""Functions whose results are bounded, in codes of their own."""

OWN_CODES = CURVES | {"quantize"}
"""Functions whose results have other codes than a sum in front of them may have: they are no part
of the step that makes it."""

SIGMOID_EXPONENT = -11
"""Of the codes that sigmoids are tabulated for: |x| < 16."""

LOOKUP_ENTRIES = 256

ELU_REACH = 8.0
"""Below its negative an exponential is taken for zero."""


@dataclass(frozen=True, slots=True)
class IntegerActivation:
    """A fused activation and the exponents of the sum before it.

    Attributes:
        sum_exponents: [channels] of the codes that go into the function.
        numbers: the fields of ActivationArgs in codes.h.
    """

    sum_exponents: Ints
    numbers: dict[str, Any]

    @property
    def native(self) -> Any:
        """The function itself."""
        return _native.Activation(**self.numbers)


@dataclass(frozen=True)
class _Function:
    kind: int = NONE
    slope: float | Reals = 0.0
    exponent: int = SIGMOID_EXPONENT  # of t
    reach: float = 1.0  # largest |sum| that matters: below its negative the function is zero
    table: str = ""
    line: tuple[float, float] = (0.0, 0.0)
    scale: float = 0.0
    start: float = 0.0


def integer_activation(op: Unary | None, codes: Codes, *, where: str = "") -> IntegerActivation:
    """The integers of an activation whose results are these codes.

    Args:
        where: the layer's name, for messages.

    Raises:
        PlanError: results between fixed bounds need one exponent that lets codes reach them.
    """
    channels = len(codes.exponents)
    low = np.full(channels, -codes.limit, np.int64)
    high = np.full(channels, codes.limit, np.int64)
    function = _Function()
    match op.kind if op else None:
        case None:
            pass
        case "relu":
            low[:] = 0
        case "clip":
            assert op is not None
            bounds = [np.clip(bound / codes.unit, -codes.limit, codes.limit) for bound in op.params]
            low, high = (np.rint(bound).astype(np.int64) for bound in bounds)
        case "quantize":
            assert op is not None
            if codes.exponents.any():
                raise PlanError(
                    "the codes of quantized values are whole numbers: their exponent is 0.",
                    where=where,
                    hint="Calibrate again.",
                )
            low, high = (np.clip(np.full(channels, bound), low, high) for bound in op.params)
        case "leaky_relu":
            assert op is not None
            function = _Function(SLOPE, slope=op.params[0])
        case "elu":
            assert op is not None
            function = _Function(ELU, table="root", slope=-op.params[0])
        case "silu":
            function = _Function(GATE, table="sigmoid", reach=12.0)
        case "gelu" | "gelu_tanh":
            assert op is not None
            function = _Function(GATE, table=op.kind, reach=4.5)
        case "sigmoid":
            function = _Function(CURVE, table="sigmoid", scale=1.0)
        case "tanh":
            # tanh(x) = 2 sigmoid(2x) - 1
            function = _Function(CURVE, exponent=-12, table="sigmoid", scale=2.0, start=-1.0)
        case "hard_swish":
            function = replace(_line(GATE, 1 / 6, 0.5), reach=3.0)
        case "hard_sigmoid":
            assert op is not None
            function = replace(_line(CURVE, *op.params), scale=1.0)
        case kind:
            raise AssertionError(f"{kind} has no integer form")
    return _activation(function, codes, low, high, where)


def integer_lookup(first: int, results: Ints, codes: Codes) -> IntegerActivation:
    """A table of results in whole steps, for sums in whole steps from the first on."""
    least = int(results.min())
    entries = np.pad(results - least, (0, LOOKUP_ENTRIES - len(results)), mode="edge")
    activation = integer_activation(None, codes)
    return replace(
        activation,
        numbers={
            **activation.numbers,
            "kind": LOOKUP,
            "lookup": entries.astype(np.uint8),
            "first": first,
            "start": least,
        },
    )


def integer_prelu(slopes: Reals, codes: Codes) -> IntegerActivation:
    """Slopes of at most 1 for negative values, channel by channel."""
    bound = np.full(len(codes.exponents), codes.limit, np.int64)
    return _activation(_Function(SLOPE, slope=slopes), codes, -bound, bound, "")


def _activation(
    function: _Function, codes: Codes, low: Ints, high: Ints, where: str = ""
) -> IntegerActivation:
    channels, exponents = len(codes.exponents), codes.exponents
    if function.kind == ELU and exponents.min() < _least_of_elu(-function.slope):
        raise PlanError(
            f"the codes of an ELU need exponents of {_least_of_elu(-function.slope)} or more.",
            where=where,
            hint="Calibrate again.",
        )
    if function.kind == CURVE:
        if np.ptp(exponents) or function.scale / codes.unit[0] > ONE:
            raise PlanError(
                "the codes of a sigmoid or tanh need one exponent for all channels, "
                f"{round(math.log2(function.scale / ONE))} or more.",
                where=where,
                hint="Calibrate again.",
            )
        exponents = np.full(channels, function.exponent, np.int64)
    if function.kind == GATE:
        least = math.ceil(math.log2(function.reach / LARGEST_WEIGHT))
        exponents = np.maximum(exponents, least)
    finer = np.minimum(exponents - codes.exponents, 13) if function.kind == GATE else exponents * 0
    shift = exponents - function.exponent
    left = np.exp2(np.clip(shift, 0, 14))
    right = np.minimum(np.exp2(15.0 + np.minimum(shift, 0)), LARGEST_WEIGHT)
    per_code = 1 / codes.unit[0]
    tables = _table(function.table) if function.table else (np.empty(0, np.int16),) * 3
    numbers = dict[str, Any](
        kind=function.kind,
        low=low.astype(np.int16),
        high=high.astype(np.int16),
        slope=_slopes(function, codes),
        limit=(LARGEST_WEIGHT / left).astype(np.int16),
        left=left.astype(np.int16),
        right=np.rint(right).astype(np.int16),
        gain=np.exp2(finer + 1).astype(np.int16),
        bound=(LARGEST_WEIGHT >> (finer + 1)).astype(np.int16),
        rounding=np.exp2(14 - finer).astype(np.int16),
        table_a=tables[0],
        table_b=tables[1],
        table_c=tables[2],
        line_slope=_share(function.line[0]),
        line_start=_share(function.line[1]),
        scale=_share(function.scale * per_code / ONE),
        start=round(function.start * per_code),
        coarser=bool((shift > 0).any()),
        finer=bool(finer.any()),
        lookup=np.empty(0, np.uint8),
        first=0,
    )
    return IntegerActivation(exponents, numbers)


def exponents_of(op: Unary | None, wanted: Ints, limit: int) -> Ints:
    """Exponents that the results of an activation can have, the nearest to those wanted: one for
    all channels of a curve, whatever the calibration saw; coarse enough for an ELU's bound; 0 for
    quantized values."""
    match op:
        case Unary(kind="elu", params=(alpha, *_)):
            return np.maximum(wanted, _least_of_elu(alpha))
        case Unary(kind="quantize"):
            return np.zeros_like(wanted)
        case Unary(kind=kind) if kind in CURVES:
            finest = -14 if kind == "tanh" else -15
            return np.full_like(wanted, max(finest, math.ceil(math.log2(1.0 / (limit + 1)))))
        case _:
            return wanted


def bits_of(op: Unary | None, bits: int) -> int:
    """Width of the codes that the results of an activation need, of so many at most."""
    match op:
        case Unary(kind="quantize", params=(low, high)):
            return max(LEAST_WIDTH, int(max(-low, high)).bit_length() + 1)
        case _:
            return bits


def codes_behind(op: Unary | None, codes: Codes) -> Codes:
    """The codes, or the nearest that the results of an activation can have."""
    limit = 2 ** (bits_of(op, codes.limit.bit_length() + 1) - 1) - 1
    return Codes(exponents_of(op, codes.exponents, codes.limit), limit)


def _least_of_elu(alpha: float | Reals) -> int:
    """Its sums have the same codes, which reach where the exponential has vanished, and the bound
    is one of them."""
    return math.ceil(math.log2(max(ELU_REACH, float(alpha)) / ONE))


def _line(kind: int, slope: float, start: float) -> _Function:
    # The coarsest codes of which the slope is still below one.
    exponent = -15 - math.floor(math.log2(slope)) - 1
    return _Function(kind, exponent=exponent, line=(slope * 2.0 ** (exponent + 15), start))


def _slopes(function: _Function, codes: Codes) -> npt.NDArray[np.int16]:
    unit = codes.unit if function.kind == ELU else 1 / ONE
    factors = np.rint(np.divide(function.slope, unit))
    factors = np.clip(factors, -LARGEST_WEIGHT, LARGEST_WEIGHT)
    return np.broadcast_to(factors, codes.exponents.shape).astype(np.int16)


def _share(value: float) -> int:
    return min(round(value * ONE), LARGEST_WEIGHT)


@cache
def _table(
    name: str,
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int16], npt.NDArray[np.int16]]:
    """(a, b, c) of the quadratics `c + f * (b + f * a)` for the function of |x|, see codes.h."""
    functions = {
        "sigmoid": _sigmoid,
        "root": _root,
        "gelu": _normal,
        "gelu_tanh": _tanh_normal,
    }
    # Points that spread the error of a parabola evenly over [0, 1).
    f = 0.5 - 0.5 * np.cos((2 * np.arange(16) + 1) * np.pi / 32)
    parabola = np.stack([f * f, f, np.ones_like(f)], axis=1)
    size = 2.0 ** (SIGMOID_EXPONENT + 10)
    table = np.zeros((3, 32), np.int64)
    for segment in range(32):
        values = functions[name]((segment + f) * size) * ONE
        if segment < 16:
            table[:, segment] = np.rint(np.linalg.lstsq(parabola, values, rcond=None)[0])
        else:
            table[2, segment] = round(float(values.mean()))
    # No point of a segment may be carried beyond one, where int16 ends.
    points = np.arange(1024)[:, None] << 5
    slopes = table[1] + _rounded(points * table[0])
    most = LARGEST_WEIGHT - _rounded(points * slopes).max(axis=0)
    table[2] = np.minimum(table[2], most)
    a, b, c = table.astype(np.int16)
    return a, b, c


def _rounded(product: Ints) -> Ints:
    return (product + ONE // 2) // ONE


def _sigmoid(x: Reals) -> Reals:
    return np.asarray(1 / (1 + np.exp(-x)))


def _root(x: Reals) -> Reals:
    """Of the exponential: a smoother curve, so that parabolas are four times as near."""
    return np.asarray(np.exp(-x / 2))


def _normal(x: Reals) -> Reals:
    return np.array([0.5 * (1 + math.erf(value / math.sqrt(2))) for value in x])


def _tanh_normal(x: Reals) -> Reals:
    return np.asarray(0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))
