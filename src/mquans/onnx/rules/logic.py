"""Rules for comparisons, logic and choices; what is true is 1, what is false 0."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mquans.graph import Binary, Unary, broadcast
from mquans.onnx.call import Call, Refused, Rule

Mask = npt.NDArray[np.bool_]


def compare(call: Call) -> None:
    """Less and Greater; those that hold for equals too are false where an operand is NaN."""
    a, b = call.value(0), call.value(1)
    if call.op_type.startswith("Greater"):
        a, b = b, a
    if call.op_type == "Equal":
        call.finish(Binary("equal"), a, b)
    elif call.op_type.endswith("OrEqual"):
        less = call.emit("less", Binary("less"), a, b)
        call.finish(Binary("max"), less, call.emit("equal", Binary("equal"), a, b))
    else:
        call.finish(Binary("less"), a, b)


def combine(call: Call) -> None:
    a, b = call.value(0), call.value(1)
    match call.op_type:
        case "And":
            call.finish(Binary("min"), a, b)
        case "Or":
            call.finish(Binary("max"), a, b)
        case _:
            call.finish(Unary("abs"), call.emit("difference", Binary("sub"), a, b))


def negate(call: Call) -> None:
    call.finish(Binary("sub"), _one(call), call.value())


def is_nan(call: Call) -> None:
    same = call.emit("same", Binary("equal"), call.value(), call.value())
    call.finish(Binary("sub"), _one(call), same)


def is_inf(call: Call) -> None:
    if not (call.attribute("detect_negative", 1) and call.attribute("detect_positive", 1)):
        raise Refused("it looks for infinities of one sign")
    size = call.emit("size", Unary("abs"), call.value())
    call.finish(Binary("equal"), size, call.add_constant("infinity", np.array(np.inf)))


def where(call: Call) -> None:
    """A sum of the two, each hidden where the other one is taken; of one alone where that is 0."""
    if call.is_constant(0):
        chosen = call.constant(0).astype(bool)
        first, second = _shown(call, "a", 1, chosen), _shown(call, "b", 2, ~chosen)
        call.finish(Binary("add"), first, second)
        return
    condition = call.value(0)
    other = call.emit("not", Binary("sub"), _one(call), condition)
    for index, zero, shown in ((1, 2, condition), (2, 1, other)):
        if _is_zero(call, zero) and call.shape(index) == _result(call):
            call.finish(Binary("mask"), call.value(index), shown)
            return
    first = call.emit("a", Binary("mask"), call.value(1), condition)
    call.finish(Binary("add"), first, call.emit("b", Binary("mask"), call.value(2), other))


def _is_zero(call: Call, index: int) -> bool:
    return call.is_constant(index) and not call.constant(index).any()


def _result(call: Call) -> tuple[int, ...]:
    return broadcast(*(call.shape(index) for index in range(3)))


def _shown(call: Call, label: str, index: int, mask: Mask) -> str:
    """An operand where a constant mask says so, else 0."""
    if call.is_constant(index):
        return call.add_constant(label, np.where(mask, call.floats(index), 0))
    return call.emit(
        label, Binary("mask"), call.value(index), call.add_constant(f"{label}/mask", mask)
    )


def _one(call: Call) -> str:
    return call.add_constant("one", np.array(1.0))


COMPARISONS = ("Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual")

RULES: dict[str, Rule] = {
    **dict.fromkeys(COMPARISONS, compare),
    **dict.fromkeys(("And", "Or", "Xor"), combine),
    "Not": negate,
    "IsNaN": is_nan,
    "IsInf": is_inf,
    "Where": where,
}
"""All but `Where` make values of bool."""
