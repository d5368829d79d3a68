"""Rules for normalisations: batch, instance, group, layer, local response, Lp."""

from __future__ import annotations

import math

import numpy as np

from mquans.graph import Binary, LayerNorm, Pool, Reduce, ReduceKind, Reshape, Unary
from mquans.onnx.call import Call, Refused, Rule


def batch_norm(call: Call) -> None:
    """As a multiplication and an addition; folding puts them into the layer before."""
    if call.attribute("training_mode", 0) or any(map(call.is_read, range(1, 5))):
        raise Refused("batch norm in training mode")
    if not call.attribute("spatial", 1):
        raise Refused("batch norm of every position by itself")
    scale, shift, mean, variance = (
        call.constant(index, "a statistic").astype(np.float64) for index in range(1, 5)
    )
    factor = scale / np.sqrt(variance + call.attribute("epsilon", 1e-5))
    column = (-1, *(1,) * (len(call.shape()) - 2))
    factors = call.add_constant("scale", factor.reshape(column))
    shifts = call.add_constant("shift", (shift - mean * factor).reshape(column))
    call.finish(Binary("add"), call.emit("scaled", Binary("mul"), call.value(), factors), shifts)


def instance_norm(call: Call) -> None:
    _grouped_norm(call, groups=call.shape()[1], epsilon=call.attribute("epsilon", 1e-5))


def group_norm(call: Call) -> None:
    _grouped_norm(
        call, groups=call.attribute("num_groups"), epsilon=call.attribute("epsilon", 1e-5)
    )


def _grouped_norm(call: Call, *, groups: int, epsilon: float) -> None:
    """A LayerNorm over each group's channels and space, then scale and bias per channel."""
    shape = call.shape()
    scale, bias = (call.constant(index, "scale or bias") for index in (1, 2))
    if scale.size != shape[1]:
        # GroupNormalization of opset 18 has one entry per group.
        scale, bias = (np.repeat(array, shape[1] // groups) for array in (scale, bias))
    column = (-1, *(1,) * (len(shape) - 2))
    if groups == shape[1] and len(shape) > 2:
        # Every channel by itself, wherever channels lie.
        ones = call.add_constant("ones", np.ones(shape[2:]))
        back = call.emit("normal", LayerNorm(2, float(epsilon)), call.value(), ones)
    else:
        size = math.prod(shape[1:]) // groups
        rows = call.emit("rows", Reshape((shape[0], groups, size)), call.value())
        ones = call.add_constant("ones", np.ones(size))
        normal = call.emit("normal", LayerNorm(2, float(epsilon)), rows, ones)
        back = call.emit("back", Reshape(shape), normal)
    factors = call.add_constant("scale", scale.reshape(column))
    shifts = call.add_constant("bias", bias.reshape(column))
    call.finish(Binary("add"), call.emit("scaled", Binary("mul"), back, factors), shifts)


def _broadcasts(shape: tuple[int, ...], to: tuple[int, ...]) -> bool:
    pairs = zip(reversed(shape), reversed(to), strict=False)
    return len(shape) <= len(to) and all(size in (1, whole) for size, whole in pairs)


def layer_norm(call: Call) -> None:
    if call.is_read(1) or call.is_read(2):
        raise Refused("the mean or deviation of a layer norm is used")
    axis = call.axis(-1)
    tail = call.shape()[axis:]
    for index in filter(call.is_constant, (1, 2)):
        shape = call.shape(index)
        call.require(_broadcasts(shape, tail), f"{list(shape)} does not broadcast to {list(tail)}")
    constants = [
        call.add_constant(label, np.broadcast_to(call.constant(index, label), tail))
        for index, label in ((1, "scale"), (2, "bias"))
        if call.has(index)
    ]
    op = LayerNorm(axis, float(call.attribute("epsilon", 1e-5)))
    call.finish(op, call.value(), *constants)


def rms_norm(call: Call) -> None:
    """x / sqrt(mean of squares + epsilon) * scale."""
    axes = tuple(range(call.axis(-1), len(call.shape())))
    square = call.emit("square", Binary("mul"), call.value(), call.value())
    mean = call.emit("mean", Reduce("mean", axes, True), square)
    epsilon = call.add_constant("epsilon", np.array(call.attribute("epsilon", 1e-5)))
    root = call.emit("root", Unary("sqrt"), call.emit("sum", Binary("add"), mean, epsilon))
    normal = call.emit("normal", Binary("div"), call.value(), root)
    call.finish(Binary("mul"), normal, call.value(1))


def lrn(call: Call) -> None:
    """x / (bias + alpha * mean of squares over neighbouring channels) ** beta."""
    batch, channels, *space = call.shape()
    size = int(call.attribute("size"))
    square = call.emit("square", Binary("mul"), call.value(), call.value())
    plane = call.emit("plane", Reshape((batch, 1, channels, math.prod(space))), square)
    window = Pool(
        kind="average",
        kernel=(size, 1),
        strides=(1, 1),
        pads=((size - 1) // 2, 0, size // 2, 0),
        dilations=(1, 1),
        count_include_pad=True,
    )
    mean = call.emit("mean", window, plane)
    back = call.emit("back", Reshape(call.shape()), mean)
    number = {
        name: call.add_constant(name, np.array(call.attribute(name, default)))
        for name, default in (("alpha", 1e-4), ("bias", 1.0), ("beta", 0.75))
    }
    scaled = call.emit("scaled", Binary("mul"), back, number["alpha"])
    total = call.emit("total", Binary("add"), scaled, number["bias"])
    call.finish(
        Binary("div"), call.value(), call.emit("root", Binary("pow"), total, number["beta"])
    )


def lp_norm(call: Call) -> None:
    kind: ReduceKind = "l1" if call.attribute("p", 2) == 1 else "l2"
    length = call.emit("length", Reduce(kind, (call.axis(-1),), True), call.value())
    # What has no length stays as it is.
    is_zero = call.emit("is_zero", Binary("equal"), length, call.add_constant("zero", np.zeros(())))
    divisor = call.emit("divisor", Binary("add"), length, is_zero)
    call.finish(Binary("div"), call.value(), divisor)


RULES: dict[str, Rule] = {
    "BatchNormalization": batch_norm,
    "InstanceNormalization": instance_norm,
    "GroupNormalization": group_norm,
    "LayerNormalization": layer_norm,
    "RMSNormalization": rms_norm,
    "SimplifiedLayerNormalization": rms_norm,
    "LRN": lrn,
    "LpNormalization": lp_norm,
}
