"""Steps that work site by site: sums, products and functions, and what is fused behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mquans import _native
from mquans.graph import Binary, Node, Unary
from mquans.runtime.lowering.sites.activations import (
    CURVES,
    OWN_CODES,
    IntegerActivation,
    codes_behind,
    integer_activation,
    integer_prelu,
)
from mquans.runtime.lowering.sites.arithmetic import (
    LARGEST_WEIGHT,
    ONE,
    Codes,
    Ints,
    Reals,
    factor_exponents,
    gate_of,
    sum_exponents,
)
from mquans.runtime.lowering.sites.forms import channel_constant
from mquans.runtime.lowering.sites.placing import Coded

if TYPE_CHECKING:
    from mquans.runtime.lowering.program import Lowering

LARGEST_PRODUCT_SHIFT = 15
"""Of products with constants, so that a constant of output codes can be added before the shift."""


def add_unary(low: Lowering, node: Node, op: Unary) -> None:
    """A function of the codes of one tensor."""
    x = low.sites.coded(low, node.inputs[0])
    codes = codes_behind(op, x.codes)
    y = low.sites.new(low, node.outputs[0], codes)
    activation = integer_activation(op, y.codes)
    _add_align(low, node.name, x, y, activation, low.sites.gate_of(low, node.outputs[0], y.codes))


def add_binary(low: Lowering, node: Node, op: Binary) -> None:
    """A sum, a product or a parametric ReLU."""
    match op.kind:
        case "add" | "sub":
            _add_sum(low, node, op)
        case "mul" | "div":
            _add_product(low, node, op)
        case "prelu":
            x = low.sites.coded(low, node.inputs[0])
            y = low.sites.new(low, node.outputs[0], x.codes)
            slopes = _constant(low, node, node.inputs[1])
            gate = gate_of(None, 0.0, y.codes)
            _add_align(low, node.name, x, y, integer_prelu(slopes, y.codes), gate)
        case kind:
            raise AssertionError(f"{kind} has no integer form")


def _add_align(
    low: Lowering, name: str, x: Coded, y: Coded, activation: IntegerActivation, gate: Any
) -> None:
    operand = aligned(x, activation.sum_exponents)
    _native.add_align_sites(low.program, name, y.tensor, operand, activation.native, gate)


def _add_sum(low: Lowering, node: Node, op: Binary) -> None:
    value = node.outputs[0]
    a, b = node.inputs
    signs = (1, -1 if op.kind == "sub" else 1)
    if low.is_constant(a):
        # The first operand is a computed one.
        (a, b), signs = (b, a), signs[::-1]
    stored = low.sites.analysis.tails.get(value, value)
    codes = low.sites.codes(stored, _channels(low, value))
    x = low.sites.coded(low, a)
    exponents = sum_exponents(codes.exponents, x.codes)
    if low.is_constant(b):
        constant = signs[1] * _constant(low, node, b)
        codes = Codes(np.maximum(exponents, _least_exponents(constant)), codes.limit)
    else:
        other = low.sites.coded(low, b)
        codes = Codes(sum_exponents(exponents, other.codes), codes.limit)
    tail = _tail(low, node, OWN_CODES)
    codes = codes_behind(_function(tail), codes)
    activation = integer_activation(_function(tail), codes)
    sums = activation.sum_exponents
    if low.is_constant(b):
        second = _constant_operand(np.rint(constant / np.exp2(sums.astype(np.float64))))
    else:
        second = aligned(other, sums, negative=signs[1] < 0)
    first = aligned(x, sums, negative=signs[0] < 0)
    y = low.sites.new(low, tail.outputs[0] if tail else value, codes)
    gate = low.sites.gate_of(low, tail.outputs[0] if tail else value, codes)
    _native.add_sum_sites(
        low.program, node.name, y.tensor, first, second, activation.native, gate
    )  # fmt: skip


def _least_exponents(constant: Reals) -> Ints:
    """Of codes that hold a constant in sixteen bits."""
    size = np.maximum(np.abs(constant), 2.0**-60)
    return np.ceil(np.log2(size / LARGEST_WEIGHT)).astype(np.int64)


def _add_product(low: Lowering, node: Node, op: Binary) -> None:
    a, b = node.inputs
    if low.is_constant(a):
        a, b = b, a
    x = low.sites.coded(low, a)
    last, added = node, np.zeros(_channels(low, node.outputs[0]))
    factor = np.empty(0)
    if low.is_constant(b):
        factor = _constant(low, node, b)
        factor = 1 / factor if op.kind == "div" else factor
        if _add_scaled_curve(low, node, x, factor):
            return
        behind = _only_reader(low, node.outputs[0])
        if behind and isinstance(behind.op, Binary) and behind.op.kind == "add":
            constants = [value for value in behind.inputs if low.is_constant(value)]
            if constants:
                last, added = behind, _constant(low, behind, constants[0])
                low.sites.fused.add(behind.name)
    codes = low.sites.codes(last.outputs[0], len(added))
    codes = Codes(np.maximum(codes.exponents, _least_exponents(added)), codes.limit)
    tail = _tail(low, last, CURVES)
    codes = codes_behind(_function(tail), codes)
    sums = integer_activation(_function(tail), codes).sum_exponents
    x_exponents = np.broadcast_to(x.codes.exponents, added.shape)
    if factor.size:
        mantissa, exponents = _mantissas(factor, sums - x_exponents)
        second = _constant_operand(mantissa)
    else:
        other = low.sites.coded(low, b)
        exponents = np.broadcast_to(other.codes.exponents, added.shape)
        second = _operand(other.tensor, len(added))
    unit = x_exponents + exponents
    # Codes finer than those of the product hold no more than it does.
    codes = Codes(np.maximum(codes.exponents, unit), codes.limit)
    activation = integer_activation(_function(tail), codes)
    shift = np.minimum(activation.sum_exponents - unit, 31)
    half = np.where(shift > 0, np.exp2(shift - 1.0), 0.0)
    start = np.rint(added / np.exp2(unit.astype(np.float64))) + half
    y = low.sites.new(low, (tail or last).outputs[0], codes)
    _native.add_product_sites(
        low.program, node.name, y.tensor, _operand(x.tensor, len(added)), second,
        np.clip(start, -(2**30), 2**30).astype(np.int32), shift.astype(np.int32),
        activation.native, gate_of(None, 0.0, codes),
    )  # fmt: skip


def _add_scaled_curve(low: Lowering, node: Node, x: Coded, factor: Reals) -> bool:
    """A function whose table is looked up by a value times constants, in one step; false where that
    is not what a product leads to, or where scaled codes might not fit."""
    curve = _only_reader(low, node.outputs[0])
    if curve is None or not isinstance(curve.op, Unary) or curve.op.kind not in CURVES:
        return False
    codes = codes_behind(curve.op, low.sites.codes(node.outputs[0], len(factor)))
    activation = integer_activation(curve.op, codes)
    scale = np.abs(factor) * np.exp2((x.codes.exponents - activation.sum_exponents).astype(float))
    left = np.exp2(np.clip(np.ceil(np.log2(np.maximum(scale, 2.0**-60))), 0, 14))
    right = np.rint(ONE * scale / left)
    if (left * x.codes.limit > LARGEST_WEIGHT).any() or (right > ONE).any():
        return False
    operand = _native.Operand(
        x.tensor, np.empty(0, np.int16), (LARGEST_WEIGHT // left).astype(np.int16),
        np.where(factor < 0, left, -left).astype(np.int16), (-right).astype(np.int16),
    )  # fmt: skip
    low.sites.fused.add(curve.name)
    y = low.sites.new(low, curve.outputs[0], codes)
    gate = low.sites.gate_of(low, curve.outputs[0], codes)
    _native.add_align_sites(low.program, node.name, y.tensor, operand, activation.native, gate)
    return True


def aligned(x: Coded, exponents: Ints, *, negative: bool = False) -> Any:
    """An operand of a sum with these exponents."""
    shift = np.broadcast_to(x.codes.exponents, exponents.shape) - exponents
    left = np.exp2(np.clip(shift, 0, 14))
    right = np.rint(np.exp2(15.0 + np.clip(shift, -17, 0)))
    return _native.Operand(
        x.tensor, np.empty(0, np.int16), (LARGEST_WEIGHT // left).astype(np.int16),
        (left if negative else -left).astype(np.int16), (-right).astype(np.int16),
    )  # fmt: skip


def _operand(tensor: int, channels: int) -> Any:
    """An operand of a product."""
    nothing = np.zeros(channels, np.int16)
    return _native.Operand(tensor, np.empty(0, np.int16), nothing, nothing, nothing)


def _constant_operand(codes: Reals) -> Any:
    channels = len(codes)
    return _native.Operand(
        -1, codes.astype(np.int16), np.full(channels, LARGEST_WEIGHT, np.int16),
        np.full(channels, -1, np.int16), np.full(channels, -ONE, np.int16),
    )  # fmt: skip


def _mantissas(factor: Reals, ratio: Ints) -> tuple[Reals, Ints]:
    """(m, e) with factor = m * 2**e, m of at most fifteen bits; ratio: exponents of the result less
    those of the other operand."""
    exponents = np.maximum(factor_exponents(factor), ratio - LARGEST_PRODUCT_SHIFT)
    mantissa = np.rint(factor / np.exp2(exponents.astype(np.float64)))
    return np.clip(mantissa, -LARGEST_WEIGHT, LARGEST_WEIGHT), exponents


def _only_reader(low: Lowering, value: str) -> Node | None:
    """The one node that reads a value, where it works on codes and nobody else sees the value."""
    idle = low.sites.analysis.idle
    readers = [node for node in low.graph.consumers().get(value, []) if node.name not in idle]
    if len(readers) != 1 or value in low.graph.outputs:
        return None
    (reader,) = readers
    return reader if reader.name in low.sites.analysis.integer_nodes else None


def _tail(low: Lowering, node: Node, but: frozenset[str]) -> Node | None:
    """The function that is fused behind a node.

    Args:
        but: kinds that are not.
    """
    reader = _only_reader(low, node.outputs[0])
    if reader is None or not isinstance(reader.op, Unary) or reader.op.kind in but:
        return None
    low.sites.fused.add(reader.name)
    return reader


def _function(tail: Node | None) -> Unary | None:
    return tail.op if tail and isinstance(tail.op, Unary) else None


def _channels(low: Lowering, value: str) -> int:
    return low.graph.shape(value)[low.sites.analysis.codings[value].axis]


def _constant(low: Lowering, node: Node, value: str) -> Reals:
    coding = low.sites.analysis.codings[node.outputs[0]]
    constant = channel_constant(low.graph, value, coding.order, _channels(low, node.outputs[0]))
    assert constant is not None
    return constant


__all__ = ["add_binary", "add_unary", "aligned"]
