"""Rules for layers with weights: Conv, ConvTranspose, Gemm, MatMul."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mquans.graph import (
    Binary,
    Conv,
    ConvTranspose,
    Linear,
    MatMul,
    Reshape,
    Transpose,
    window_span,
)
from mquans.onnx.call import Call, Refused, Rule
from mquans.onnx.rules.windows import read_convolution, split_padding

Array = npt.NDArray[np.generic]


def conv(call: Call) -> None:
    weight = call.constant(1, "the weight")
    axes = weight.ndim - 2
    if not 1 <= axes <= 3:
        raise Refused(f"a convolution over {axes} axes")
    _check_attributes(call, weight, filters=weight.shape[0])
    _finish_with_bias(call, read_convolution(call, weight.shape[2:]), weight)


def conv_transpose(call: Call) -> None:
    weight = call.constant(1, "the weight")
    axes = weight.ndim - 2
    if not 1 <= axes <= 3:
        raise Refused(f"a convolution over {axes} axes")
    kernel = weight.shape[2:]
    _check_attributes(call, weight, filters=weight.shape[1] * int(call.attribute("group", 1)))
    strides = tuple(call.attribute("strides") or (1,) * axes)
    dilations = tuple(call.attribute("dilations") or (1,) * axes)
    for name, sizes in (("strides", strides), ("dilations", dilations)):
        call.require(min(sizes) >= 1, f"its {name} {list(sizes)} are not all positive")
    extra = tuple(call.attribute("output_padding") or (0,) * axes)
    call.require(
        all(0 <= more < max(each) for more, *each in zip(extra, strides, dilations, strict=True)),
        f"output_padding {list(extra)} is not smaller than strides or dilations",
    )
    pads = tuple(call.attribute("pads") or (0,) * (2 * axes))
    mode = call.attribute("auto_pad", "NOTSET")
    wanted = call.attribute("output_shape")
    if wanted is not None or mode in ("SAME_UPPER", "SAME_LOWER"):
        # output_shape may or may not name batch and channels; only the space counts.
        space = wanted[-axes:] if wanted is not None else None
        begins, ends = [], []
        for i, size in enumerate(call.shape()[2:]):
            full = (size - 1) * strides[i] + window_span(kernel[i], dilations[i]) + extra[i]
            target = space[i] if space is not None else size * strides[i]
            begin, end = split_padding(max(0, full - target), upper=mode == "SAME_UPPER")
            if full < target:
                raise Refused("output_shape is larger than the full result")
            begins.append(begin)
            ends.append(end)
        pads = (*begins, *ends)
    elif mode == "VALID":
        pads = (0,) * (2 * axes)
    if min(pads) < 0:
        raise Refused("negative pads")
    op = ConvTranspose(
        kernel=kernel,
        strides=strides,
        pads=pads,
        dilations=dilations,
        output_padding=extra,
        groups=int(call.attribute("group", 1)),
    )
    _finish_with_bias(call, op, weight)


def _check_attributes(call: Call, weight: Array, *, filters: int) -> None:
    kernel = tuple(call.attribute("kernel_shape") or weight.shape[2:])
    call.require(
        kernel == weight.shape[2:],
        f"kernel_shape {list(kernel)} is not that of weights {list(weight.shape)}",
    )
    call.require(int(call.attribute("group", 1)) >= 1, "its group is below 1")
    if call.has(2):
        bias = call.shape(2)
        call.require(bias == (filters,), f"a bias of shape {list(bias)} meets {filters} filters")


def _finish_with_bias(call: Call, op: Conv | ConvTranspose, weight: Array) -> None:
    if call.has(2) and not call.is_constant(2):
        plain = call.emit("product", op, call.value(), call.value(1))
        column = (-1, *(1,) * (weight.ndim - 2))
        bias = call.emit("bias", Reshape((call.shape(2)[0], *column[1:])), call.value(2))
        call.finish(Binary("add"), plain, bias)
    else:
        call.finish(op, *(value for value in call.inputs if value))


def gemm(call: Call) -> None:
    alpha, beta = float(call.attribute("alpha", 1.0)), float(call.attribute("beta", 1.0))
    a = call.value(0)
    if call.attribute("transA", 0):
        a = call.emit("transposed_a", Transpose((1, 0)), a)
    if call.is_constant(1):
        weight = call.constant(1).T if call.attribute("transB", 0) else call.constant(1)
        product: Linear | MatMul = Linear()
        b = call.add_constant("weight", alpha * weight.astype(np.float64))
    else:
        b = call.value(1)
        if call.attribute("transB", 0):
            b = call.emit("transposed_b", Transpose((1, 0)), b)
        if alpha != 1.0:
            a = call.emit("scaled", Binary("mul"), a, call.add_constant("alpha", np.array(alpha)))
        product = MatMul()
    if not call.has(2) or beta == 0.0:
        call.finish(product, a, b)
        return
    bias = call.value(2)
    if call.is_constant(2):
        array = beta * call.constant(2).astype(np.float64)
        features = call.shape_of(b)[1]
        if isinstance(product, Linear) and array.size in (1, features) and _is_row(array):
            row = np.broadcast_to(array.reshape(-1), (features,))
            call.finish(product, a, b, call.add_constant("bias", row))
            return
        bias = call.add_constant("bias", array)
    elif beta != 1.0:
        bias = call.emit("beta", Binary("mul"), bias, call.add_constant("beta", np.array(beta)))
    call.finish(Binary("add"), call.emit("product", product, a, b), bias)


def _is_row(array: Array) -> bool:
    return array.ndim < 2 or array.shape[0] == 1


def matmul(call: Call) -> None:
    left, right = call.shape(0), call.shape(1)
    if len(left) == 1 or len(right) == 1:
        _vector_matmul(call, left, right)
    elif call.is_constant(1) and all(size == 1 for size in right[:-2]):
        # Leading axes of size 1 in the weight only matter when they add axes to the result.
        matrix = call.constant(1).reshape(right[-2:])
        constant = call.value(1) if len(right) == 2 else call.add_constant("weight", matrix)
        if len(right) <= len(left):
            call.finish(Linear(), call.value(0), constant)
        else:
            short = call.emit("product", Linear(), call.value(0), constant)
            shape = call.shape_of(short)
            call.finish(Reshape((1,) * (len(right) - len(left)) + shape), short)
    elif call.is_constant(0) and len(left) == 2:
        # W @ x = (x' @ W')'
        order = tuple(range(len(right)))
        flip = (*order[:-2], order[-1], order[-2])
        weight = call.add_constant("weight", call.constant(0).T)
        turned = call.emit("turned", Transpose(flip), call.value(1))
        call.finish(Transpose(flip), call.emit("product", Linear(), turned, weight))
    else:
        call.finish(MatMul(), call.value(0), call.value(1))


def _vector_matmul(call: Call, left: tuple[int, ...], right: tuple[int, ...]) -> None:
    """numpy's rule: a vector on the left is a row, on the right a column, and drops out again."""
    a, b = call.value(0), call.value(1)
    if not left or not right:
        raise Refused("a scalar operand")
    shape = (*left[:-1], *right[-1:]) if len(right) > 1 else left[:-1]
    if len(left) == 1 and len(right) > 2:
        shape = (*right[:-2], right[-1])
    if call.is_constant(1) and len(right) == 1:
        b = call.add_constant("column", call.constant(1).reshape(-1, 1))
    elif len(right) == 1:
        b = call.emit("column", Reshape((right[0], 1)), b)
    if len(left) == 1:
        a = call.emit("row", Reshape((1, left[0])), a)
    linear = call.is_constant(1) and len(call.shape_of(b)) == 2
    product = call.emit("product", Linear() if linear else MatMul(), a, b)
    call.finish(Reshape(shape), product)


RULES: dict[str, Rule] = {
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "Gemm": gemm,
    "MatMul": matmul,
}
