"""Rules for functions of single values, and for arithmetic between tensors."""

from __future__ import annotations

import math

import numpy as np

from mquans.graph import Binary, BinaryKind, Reshape, Unary, UnaryKind
from mquans.onnx.call import Call, Refused, Rule

PLAIN: dict[str, UnaryKind] = {
    "Relu": "relu", "Sigmoid": "sigmoid", "Tanh": "tanh", "Exp": "exp", "Log": "log",
    "Sqrt": "sqrt", "Abs": "abs", "Neg": "neg", "Reciprocal": "reciprocal", "Erf": "erf",
    "Floor": "floor", "Ceil": "ceil", "Round": "round", "Sign": "sign", "Softplus": "softplus",
    "Softsign": "softsign", "Sin": "sin", "Cos": "cos", "HardSwish": "hard_swish", "Mish": "mish",
}  # fmt: skip
"""Functions without parameters."""

PARAMETERS: dict[str, tuple[UnaryKind, tuple[tuple[str, float], ...]]] = {
    "LeakyRelu": ("leaky_relu", (("alpha", 0.01),)),
    "Elu": ("elu", (("alpha", 1.0),)),
    "HardSigmoid": ("hard_sigmoid", (("alpha", 0.2), ("beta", 0.5))),
    "Selu": ("selu", (("alpha", 1.67326319217681884765625), ("gamma", 1.05070102214813232421875))),
}
"""Functions with parameters, in the order of `Unary.params`, and ONNX's defaults."""

ARITHMETIC: dict[str, BinaryKind] = {"Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div"}

VARIADIC: dict[str, BinaryKind] = {"Sum": "add", "Max": "max", "Min": "min", "Mean": "add"}


def plain(call: Call) -> None:
    call.finish(Unary(PLAIN[call.op_type]), call.value())


def with_parameters(call: Call) -> None:
    kind, names = PARAMETERS[call.op_type]
    params = tuple(float(call.attribute(name, default)) for name, default in names)
    call.finish(Unary(kind, params), call.value())


def clip(call: Call) -> None:
    if any(call.has(index) and not call.is_constant(index) for index in (1, 2)):
        _clip_between_computed(call)
        return
    bounds = []
    for index, name, open_bound in ((1, "min", -math.inf), (2, "max", math.inf)):
        if call.has(index):
            bound = call.constant(index, f"the bound {name}")
            call.require(
                bound.shape in ((), (1,)), f"its bound {name} has the shape {list(bound.shape)}"
            )
            bounds.append(float(bound.item()))
        else:
            bounds.append(float(call.attribute(name, open_bound)))
    # The default bounds of opset < 11 are the largest floats.
    largest = float(np.finfo(np.float32).max)
    low = -math.inf if bounds[0] <= -largest else bounds[0]
    high = math.inf if bounds[1] >= largest else bounds[1]
    call.finish(Unary("clip", (low, high)), call.value())


def _clip_between_computed(call: Call) -> None:
    kinds: tuple[BinaryKind, BinaryKind] = ("max", "min")
    value = call.value()
    for index, kind in enumerate(kinds, start=1):
        if call.has(index):
            bound = call.emit(f"bound{index}", Reshape(()), call.value(index))
            value = call.emit(kind, Binary(kind), value, bound)
    call.copy(value)


def gelu(call: Call) -> None:
    is_tanh = call.attribute("approximate", "none") == "tanh"
    call.finish(Unary("gelu_tanh" if is_tanh else "gelu"), call.value())


def swish(call: Call) -> None:
    alpha = float(call.attribute("alpha", 1.0))
    if alpha == 1.0:
        call.finish(Unary("silu"), call.value())
        return
    inner = call.emit("scaled", Binary("mul"), call.value(), call.add_constant("alpha", _of(alpha)))
    gate = call.emit("gate", Unary("sigmoid"), inner)
    call.finish(Binary("mul"), call.value(), gate)


def celu(call: Call) -> None:
    """celu(x) = a * elu(x / a)."""
    alpha = float(call.attribute("alpha", 1.0))
    if alpha == 1.0:
        call.finish(Unary("elu", (1.0,)), call.value())
        return
    constant = call.add_constant("alpha", _of(alpha))
    inner = call.emit("scaled", Binary("div"), call.value(), constant)
    call.finish(Binary("mul"), call.emit("elu", Unary("elu", (1.0,)), inner), constant)


def prelu(call: Call) -> None:
    slope = call.constant(1, "the slope") if call.is_constant(1) else None
    if slope is not None and slope.size == 1:
        call.finish(Unary("leaky_relu", (float(slope.reshape(-1)[0]),)), call.value())
        return
    call.finish(Binary("prelu"), call.value(), call.value(1))


def arithmetic(call: Call) -> None:
    call.finish(Binary(ARITHMETIC[call.op_type]), call.value(0), call.value(1))


def power(call: Call) -> None:
    exponent = call.constant(1) if call.is_constant(1) else None
    x = call.value()
    if exponent is not None and exponent.size == 1 and exponent.ndim <= len(call.shape()):
        number = float(exponent.reshape(-1)[0])
        if number == 2.0:
            call.finish(Binary("mul"), x, x)
            return
        if number == 0.5:
            call.finish(Unary("sqrt"), x)
            return
    call.finish(Binary("pow"), x, call.value(1))


def variadic(call: Call) -> None:
    """Sum, Mean, Max and Min of any number of tensors, from left to right."""
    kind = VARIADIC[call.op_type]
    values = [call.value(index) for index in range(len(call.inputs))]
    if not values:
        raise Refused("it has no inputs")
    factor = 1.0 / len(values) if call.op_type == "Mean" else 1.0
    total = values[0]
    for number, value in enumerate(values[1:-1], start=1):
        total = call.emit(f"step{number}", Binary(kind), total, value)
    if len(values) == 1:
        call.copy(total)
    elif factor == 1.0:
        call.finish(Binary(kind), total, values[-1])
    else:
        total = call.emit("total", Binary(kind), total, values[-1])
        call.finish(Binary("mul"), total, call.add_constant("share", _of(factor)))


def _of(number: float) -> np.ndarray[tuple[()], np.dtype[np.float32]]:
    return np.array(number, np.float32)


RULES: dict[str, Rule] = {
    **dict.fromkeys(PLAIN, plain),
    **dict.fromkeys(PARAMETERS, with_parameters),
    **dict.fromkeys(ARITHMETIC, arithmetic),
    **dict.fromkeys(VARIADIC, variadic),
    "Clip": clip,
    "Gelu": gelu,
    "Swish": swish,
    "Celu": celu,
    "PRelu": prelu,
    "Pow": power,
}
