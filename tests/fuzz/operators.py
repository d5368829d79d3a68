"""Operators that random networks grow by: each adds nodes that read a value, if it fits."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from .growing import Network


def _conv(net: Network, x: str) -> None:
    _, channels, *size = net.shapes[x]
    groups = net.pick(*(n for n in range(1, channels + 1) if channels % n == 0))
    groups = groups if net.chance(0.4) else 1
    outputs = (
        groups * net.number(1, 4) if groups > 1 else net.pick(1, 2, 3, 4, 5, 8, 12, 16, 17, 24)
    )
    kernel = [net.pick(1, 1, 2, 3, 3, 3, 4, 5) for _ in range(2)]
    strides, dilations = (
        [net.pick(1, 1, 1, 2, 3) for _ in "hw"],
        [net.pick(1, 1, 1, 2) for _ in "hw"],
    )
    pads = [net.number(0, 3) for _ in range(4)]
    result = [
        (size[i] + pads[i] + pads[i + 2] - (kernel[i] - 1) * dilations[i] - 1) // strides[i] + 1
        for i in range(2)
    ]
    if min(result) < 1:
        return
    inputs = channels // groups
    weight = net.floats(outputs, inputs, *kernel, scale=(inputs * prod(kernel)) ** -0.5)
    given = [x, net.constant(weight)]
    if net.chance(0.7):
        given.append(net.constant(net.floats(outputs, scale=0.3)))
    net.add(
        "Conv", given, (1, outputs, *result),
        group=groups, kernel_shape=kernel, strides=strides, dilations=dilations, pads=pads,
    )  # fmt: skip


def _conv_transpose(net: Network, x: str) -> None:
    _, channels, *size = net.shapes[x]
    groups = net.pick(*(n for n in range(1, channels + 1) if channels % n == 0))
    groups = groups if net.chance(0.3) else 1
    each = net.number(1, 6)
    kernel, strides = [net.number(1, 5) for _ in "hw"], [net.pick(1, 2, 2, 3) for _ in "hw"]
    pads, added = [net.number(0, 2) for _ in range(4)], [net.number(0, n) for n in strides]
    result = [
        (size[i] - 1) * strides[i] - pads[i] - pads[i + 2] + kernel[i] + added[i] for i in range(2)
    ]
    if min(result) < 1:
        return
    weight = net.floats(channels, each, *kernel, scale=(2 * channels // groups) ** -0.5)
    net.add(
        "ConvTranspose", [x, net.constant(weight)], (1, each * groups, *result),
        group=groups, kernel_shape=kernel, strides=strides, pads=pads, output_padding=added,
    )  # fmt: skip


def _batch_norm(net: Network, x: str) -> None:
    n = net.shapes[x][1]
    numbers = [1 + net.floats(n, scale=0.3), net.floats(n, scale=0.3), net.floats(n, scale=0.3)]
    given = [x, *map(net.constant, numbers), net.constant(1 + np.abs(net.floats(n, scale=0.2)))]
    net.add("BatchNormalization", given, net.shapes[x], epsilon=1e-3)


def _function(net: Network, x: str) -> None:
    shape = net.shapes[x]
    kinds = list(FUNCTIONS)
    kind = kinds[net.number(0, len(kinds))]
    if kind == "Clip":
        low, high = sorted(net.floats(2, scale=2.0))
        net.add(kind, [x, net.constant(low), net.constant(high)], shape)
    elif kind == "PRelu":
        slopes = (shape[1], 1, 1) if len(shape) == 4 else (1,)
        net.add(kind, [x, net.constant(net.floats(*slopes, scale=0.3))], shape)
    elif kind == "Pow":
        net.add(kind, [x, net.constant(np.float32(2))], shape)
    else:
        net.add(kind, [x], shape, **FUNCTIONS[kind])


def _bounded(net: Network, x: str) -> None:
    """Functions that are no function of all numbers, or grow too fast."""
    shape, kind = net.shapes[x], str(net.rng.choice(["Sqrt", "Log", "Reciprocal", "Exp"]))
    if kind == "Exp":
        net.add(kind, [net.add("Clip", [x, "", net.constant(np.float32(2))], shape)], shape)
        return
    size = net.add("Abs", [x], shape)
    one = net.constant(np.float32(1))
    net.add(kind, [net.add("Add", [size, one], shape)], shape)


def _gate(net: Network, x: str) -> None:
    """SiLU or Mish, written as products."""
    shape, inner = net.shapes[x], x
    if mish := net.chance(0.5):
        inner = net.add("Softplus", [x], shape)
    net.add("Mul", [x, net.add("Tanh" if mish else "Sigmoid", [inner], shape)], shape)


def _pool(net: Network, x: str) -> None:
    _, channels, *size = net.shapes[x]
    kernel, strides = [net.number(1, 4) for _ in "hw"], [net.pick(1, 2) for _ in "hw"]
    pads = [net.number(0, 2) if kernel[i % 2] > 1 else 0 for i in range(4)]
    ceil, result = net.chance(0.3), []
    for i in range(2):
        span = size[i] + pads[i] + pads[i + 2] - kernel[i]
        if span < 0:
            return
        count = (-(-span // strides[i]) if ceil else span // strides[i]) + 1
        result.append(count - (ceil and (count - 1) * strides[i] >= size[i] + pads[i]))
    kind, more = str(net.rng.choice(["MaxPool", "AveragePool"])), {}
    if kind == "AveragePool":
        more["count_include_pad"] = int(net.chance(0.4))
    net.add(
        kind, [x], (1, channels, *result),
        kernel_shape=kernel, strides=strides, pads=pads, ceil_mode=int(ceil), **more,
    )  # fmt: skip


def _reduce(net: Network, x: str) -> None:
    shape, axis = net.shapes[x], net.number(1, len(net.shapes[x]))
    axes = [2, 3] if len(shape) == 4 and net.chance(0.6) else [axis]
    result = tuple(1 if at in axes else n for at, n in enumerate(shape))
    kind = str(net.rng.choice(["ReduceMean", "ReduceMean", "ReduceSum", "ReduceMax"]))
    net.add(kind, [x, net.ints(*axes)], result, keepdims=1)


def _resize(net: Network, x: str) -> None:
    _, channels, *size = net.shapes[x]
    result = [int(n * net.rng.choice([1, 2, 2, 1.5, 0.5])) for n in size]
    more: dict[str, Any] = {"mode": "nearest", "nearest_mode": "floor"}
    coordinates = "asymmetric"
    if net.chance(0.5):
        more = {"mode": "linear"}
        kinds = ["asymmetric", "half_pixel", "align_corners", "pytorch_half_pixel"]
        coordinates = str(net.rng.choice(kinds))
    if min(result) > 0 and prod(result) < 2000:
        sizes = net.ints(1, channels, *result)
        more["coordinate_transformation_mode"] = coordinates
        net.add("Resize", [x, "", "", sizes], (1, channels, *result), **more)


def _binary(net: Network, x: str) -> None:
    shape = net.shapes[x]
    kinds, shares = ["Add", "Sub", "Mul", "Div", "Max", "Min"], [0.4, 0.15, 0.25, 0.06, 0.07, 0.07]
    kind = str(net.rng.choice(kinds, p=shares))
    same = net.alike(lambda other: other == shape)
    smaller = net.alike(
        lambda other: (
            len(other) == len(shape)
            and other != shape
            and all(a in (1, b) for a, b in zip(other, shape, strict=True))
        )
    )
    which = net.rng.random()
    if which < 0.6 and (known := same if which < 0.4 else smaller):
        y = str(net.rng.choice(known))
        if kind == "Div":
            size = net.add("Abs", [y], net.shapes[y])
            y = net.add("Add", [size, net.constant(np.float32(1))], net.shapes[y])
    else:
        ones = (1,) * len(shape)
        sizes = [(), (1,), shape[-1:], ones, shape]
        if len(shape) == 4:
            sizes = [(), (1,), (shape[1], 1, 1), (1, 1, *shape[2:]), shape]
        array = net.floats(*sizes[net.number(0, 5)])
        y = net.constant(np.abs(array) + np.float32(0.5) if kind == "Div" else array)
    turned = kind != "Div" and net.chance(0.3)
    net.add(kind, [y, x] if turned else [x, y], shape)


def _concat(net: Network, x: str) -> None:
    shape = net.shapes[x]
    axis = net.pick(1, 1, 1, 1, *range(1, len(shape)))
    rest = [*shape[:axis], *shape[axis + 1 :]]
    fit = net.alike(
        lambda other: len(other) == len(shape) and [*other[:axis], *other[axis + 1 :]] == rest
    )
    parts = [x, *map(str, net.rng.choice(fit, net.number(1, 3)))]
    net.rng.shuffle(parts)
    size = sum(net.shapes[part][axis] for part in parts)
    if net.chance(0.1):
        parts.append(net.constant(net.floats(*shape[:axis], 2, *shape[axis + 1 :])))
        size += 2
    result = (*shape[:axis], size, *shape[axis + 1 :])
    net.add("Concat", parts, result, axis=axis if net.chance(0.7) else axis - len(shape))


def _split(net: Network, x: str) -> None:
    shape = net.shapes[x]
    axis = net.pick(1, 1, *range(1, len(shape)))
    if shape[axis] > 1:
        first = net.number(1, shape[axis])
        sizes = first, shape[axis] - first
        shapes = [(*shape[:axis], size, *shape[axis + 1 :]) for size in sizes]
        net.add("Split", [x, net.ints(*sizes)], *shapes, axis=axis)


def _slice(net: Network, x: str) -> None:
    shape, axis = net.shapes[x], net.number(1, len(net.shapes[x]))
    size, step = shape[axis], net.pick(1, 1, 2, -1)
    begin, end = size - 1, -size - 1
    if step > 0:
        begin = net.number(0, size)
        end = net.number(begin + 1, size + 1)
        size = -(-(end - begin) // step)
    given = [x, *(net.ints(number) for number in (begin, end, axis, step))]
    net.add("Slice", given, (*shape[:axis], size, *shape[axis + 1 :]))


def _pad(net: Network, x: str) -> None:
    shape = net.shapes[x]
    pads = [0, net.pick(0, 0, 0, 0, 1), *(net.number(0, 3) for _ in "hw")]
    pads += [0, net.pick(0, 0, 0, 0, 1), *(net.number(0, 3) for _ in "hw")]
    mode = str(net.rng.choice(["constant", "constant", "reflect", "edge"]))
    if mode == "reflect" and any(pad >= n for pad, n in zip(pads, shape * 2, strict=True)):
        return
    given = [x, net.ints(*pads)]
    if mode == "constant" and net.chance(0.4):
        given.append(net.constant(net.floats()))
    result = tuple(n + pads[i] + pads[i + 4] for i, n in enumerate(shape))
    net.add("Pad", given, result, mode=mode)


def _transpose(net: Network, x: str) -> None:
    shape = net.shapes[x]
    perm = [0, *(1 + net.rng.permutation(len(shape) - 1)).tolist()]
    net.add("Transpose", [x], tuple(shape[axis] for axis in perm), perm=perm)


def _reshape(net: Network, x: str) -> None:
    shape = net.shapes[x]
    if len(shape) == 4:
        _, c, h, w = shape
        result = [(1, c, h * w), (1, c, h * w), (1, c * h, w), (1, c, w, h)][net.number(0, 4)]
    else:
        size = net.pick(*(n for n in range(1, shape[2] + 1) if shape[2] % n == 0))
        result = (1, shape[1], size, shape[2] // size)
    net.add("Reshape", [x, net.ints(*result)], result)


def _shuffle(net: Network, x: str) -> None:
    """Of channels, as in ShuffleNet."""
    _, channels, *size = shape = net.shapes[x]
    if channels % 2 == 0:
        split = (1, 2, channels // 2, *size)
        x = net.add("Reshape", [x, net.ints(*split)], split)
        turned = (1, channels // 2, 2, *size)
        x = net.add("Transpose", [x], turned, perm=[0, 2, 1, 3, 4])
        net.add("Reshape", [x, net.ints(1, -1, *size)], shape)


def _normalize(net: Network, x: str) -> None:
    shape, axis = net.shapes[x], net.number(1, len(net.shapes[x]))
    kind = str(net.rng.choice(["Softmax", "LayerNormalization", "InstanceNormalization", "Lp"]))

    def around_one(count: int) -> str:
        return net.constant(1 + net.floats(count, scale=0.1))

    if kind == "Softmax":
        net.add(kind, [x], shape, axis=axis)
    elif kind == "LayerNormalization" and shape[-1] > 2:
        shift = net.constant(net.floats(shape[-1], scale=0.1))
        net.add(kind, [x, around_one(shape[-1]), shift], shape, axis=-1)
    elif kind == "InstanceNormalization" and prod(shape[2:]) > 4:
        shift = net.constant(net.floats(shape[1], scale=0.1))
        net.add(kind, [x, around_one(shape[1]), shift], shape, epsilon=1e-2)
    elif kind == "Lp" and shape[axis] > 2:
        x = net.add("Add", [x, net.constant(np.float32(0.1))], shape)
        net.add("LpNormalization", [x], shape, axis=axis, p=2)


def _linear(net: Network, x: str) -> None:
    *outer, inputs = net.shapes[x]
    outputs = net.pick(1, 3, 8, 16)
    weight = net.constant(net.floats(inputs, outputs, scale=inputs**-0.5))
    y = net.add("MatMul", [x, weight], (*outer, outputs))
    if net.chance(0.6):
        net.add("Add", [y, net.constant(net.floats(outputs, scale=0.2))], (*outer, outputs))


def _matmul(net: Network, x: str) -> None:
    """Of two computed values, scaled as in attention."""
    *outer, rows, columns = net.shapes[x]
    fit = net.alike(lambda other: other[:-1] == (*outer, columns))
    if fit:
        y = str(net.rng.choice(fit))
    else:
        perm = [*range(len(outer)), len(outer) + 1, len(outer)]
        y = net.add("Transpose", [x], (*outer, columns, rows), perm=perm)
    result = (*outer, rows, net.shapes[y][-1])
    product = net.add("MatMul", [x, y], result)
    net.add("Mul", [product, net.constant(np.float32(columns**-0.5))], result)


def _blocks(net: Network, x: str) -> None:
    _, channels, height, width = net.shapes[x]
    if net.chance(0.5) and height % 2 == 0 and width % 2 == 0:
        result = (1, 4 * channels, height // 2, width // 2)
        net.add("SpaceToDepth", [x], result, blocksize=2)
    elif channels % 4 == 0:
        mode = str(net.rng.choice(["DCR", "CRD"]))
        result = (1, channels // 4, 2 * height, 2 * width)
        net.add("DepthToSpace", [x], result, blocksize=2, mode=mode)


def _gather(net: Network, x: str) -> None:
    shape, axis = net.shapes[x], net.number(1, len(net.shapes[x]))
    taken = net.rng.integers(0, shape[axis], net.number(1, shape[axis] + 2))
    result = (*shape[:axis], len(taken), *shape[axis + 1 :])
    net.add("Gather", [x, net.ints(*taken)], result, axis=axis)


FUNCTIONS: dict[str, dict[str, Any]] = {
    **{kind: {} for kind in ("Relu", "Sigmoid", "Tanh", "LeakyRelu", "Elu", "HardSwish", "Gelu")},
    **{kind: {} for kind in ("Softplus", "Softsign", "Selu", "Celu", "Mish", "Abs", "Neg", "Erf")},
    **{kind: {} for kind in ("Sin", "Clip", "PRelu", "Pow")},
    "HardSigmoid": {"alpha": 0.2, "beta": 0.5},
}

OF_ANY: dict[Callable[[Network, str], None], float] = {
    _function: 4, _bounded: 0.7, _gate: 0.7, _binary: 6, _concat: 2.5, _split: 1.5, _slice: 1,
    _transpose: 1, _reshape: 0.8, _normalize: 1, _reduce: 1, _linear: 1, _matmul: 0.4,
    _gather: 0.4,
}  # fmt: skip
"""How often each is tried."""

OF_PICTURES: dict[Callable[[Network, str], None], float] = {
    _conv: 9, _conv_transpose: 1, _batch_norm: 2, _pool: 2, _resize: 1, _pad: 1, _blocks: 0.7,
    _shuffle: 0.4,
}  # fmt: skip
