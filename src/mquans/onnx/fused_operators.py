"""Operators of com.microsoft, which onnxruntime's optimizers make of several, and of ai.onnx.ml,
which scikit-learn's converter writes: as what they are made of, in standard operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx

from mquans.onnx.call import NO_RULE, Refused

OPSET = 23
"""In which their parts are written."""

DOMAINS = ("com.microsoft", "ai.onnx.ml")
"""Of these operators."""

Body = list[str]
"""Names of what an operator gives, in order."""


class Parts:
    """The parts of one operator.

    Attributes:
        nodes: so far.
    """

    def __init__(
        self,
        node: onnx.NodeProto,
        shape: Callable[[str], tuple[int, ...]],
        new_value: Callable[[str], str],
    ) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._node = node
        self._attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        self._shape = shape
        self._new_value = new_value

    def input(self, index: int) -> str:
        """The name of an input; "" where it is absent."""
        return self._node.input[index] if index < len(self._node.input) else ""

    def shape(self, index: int) -> tuple[int, ...]:
        """Of an input; () where it is absent."""
        return self._shape(name) if (name := self.input(index)) else ()

    def attribute(self, name: str, default: Any = None) -> Any:
        value = self._attributes.get(name, default)
        return value.decode() if isinstance(value, bytes) else value

    def add(self, op_type: str, *inputs: str, outputs: int = 1, **attributes: Any) -> Any:
        """The name of what a new node makes; of several outputs a list."""
        made = [self._new_value(f"{self._node.output[0]}/{op_type}") for _ in range(outputs)]
        given = {name: value for name, value in attributes.items() if value is not None}
        self.nodes.append(onnx.helper.make_node(op_type, inputs, made, **given))
        return made[0] if outputs == 1 else made

    def constant(self, value: Any) -> str:
        tensor = onnx.numpy_helper.from_array(np.asarray(value))
        return str(self.add("Constant", value=tensor))

    def plus(self, value: str, *others: str) -> str:
        """A sum; what is absent adds nothing."""
        for other in filter(None, others):
            value = self.add("Add", value, other)
        return value

    def kept(self, *without: str) -> dict[str, Any]:
        """The node's attributes but some."""
        return {name: value for name, value in self._attributes.items() if name not in without}

    def refuse(self, *inputs: int) -> None:
        """Give up where one of these inputs is there."""
        for index in inputs:
            if self.input(index):
                raise Refused(f"its input {self.input(index)!r} is not read natively")


def fused_parts(
    node: onnx.NodeProto,
    shape: Callable[[str], tuple[int, ...]],
    new_value: Callable[[str], str],
) -> list[onnx.NodeProto]:
    """The parts of a node, in order.

    Args:
        shape: of any value that it reads.
        new_value: makes a name that is not taken yet.

    Raises:
        Refused: it is none of these operators, or used in another way than they are known here.
    """
    if node.op_type not in DEFINITIONS:
        raise Refused(NO_RULE)
    parts = Parts(node, shape, new_value)
    found = DEFINITIONS[node.op_type](parts)
    for value, output in zip(found, node.output, strict=False):
        if output and value:
            parts.nodes.append(onnx.helper.make_node("Identity", [value], [output]))
    return parts.nodes


def _gelu(parts: Parts) -> Body:
    return [parts.add("Gelu", parts.plus(parts.input(0), parts.input(1)))]


def _fast_gelu(parts: Parts) -> Body:
    value = parts.plus(parts.input(0), parts.input(1))
    return [parts.add("Gelu", value, approximate="tanh")]


def _quick_gelu(parts: Parts) -> Body:
    return [parts.add("Swish", parts.input(0), alpha=parts.attribute("alpha", 1.702))]


def _conv(parts: Parts) -> Body:
    weights = [parts.input(index) for index in range(3) if parts.input(index)]
    own = parts.kept("activation", "activation_params")
    value = parts.plus(parts.add("Conv", *weights, **own), parts.input(3))
    return [_activated(parts, value, parts.attribute("activation_params", []))]


def _gemm(parts: Parts) -> Body:
    names = [f"activation_{name}" for name in ("alpha", "beta", "gamma")]
    own = parts.kept("activation", *names)
    value = parts.add("Gemm", *filter(None, map(parts.input, range(3))), **own)
    numbers = [parts.attribute(name) for name in names]
    return [_activated(parts, value, [number for number in numbers if number is not None])]


def _activated(parts: Parts, value: str, numbers: Sequence[float]) -> str:
    """A value behind the activation that the attributes name."""
    kind = parts.attribute("activation", "")
    match kind, list(numbers):
        case "", _:
            return value
        case (("Relu" | "Sigmoid" | "Tanh" | "HardSwish" | "Softplus" | "Softsign"), _):
            made = parts.add(kind, value)
        case (("LeakyRelu" | "Elu" | "ThresholdedRelu"), [alpha, *_]):
            made = parts.add(kind, value, alpha=alpha)
        case (("LeakyRelu" | "Elu" | "ThresholdedRelu" | "HardSigmoid"), []):
            made = parts.add(kind, value)
        case "HardSigmoid", [alpha, beta, *_]:
            made = parts.add(kind, value, alpha=alpha, beta=beta)
        case "Clip", [low, high, *_]:
            bounds = [parts.constant(np.float32(bound)) for bound in (low, high)]
            made = parts.add(kind, value, *bounds)
        case _:
            raise Refused(f"the activation {kind!r}")
    return str(made)


def _matmul(parts: Parts) -> Body:
    if parts.attribute("transBatchA", 0) or parts.attribute("transBatchB", 0):
        raise Refused("it moves axes of the batch")
    operands = []
    for index, name in enumerate(("transA", "transB")):
        value, rank = parts.input(index), len(parts.shape(index))
        if parts.attribute(name, 0) and rank > 1:
            order = [*range(rank - 2), rank - 1, rank - 2]
            value = parts.add("Transpose", value, perm=order)
        operands.append(value)
    value = parts.add("MatMul", *operands)
    factor = parts.attribute("alpha", 1.0)
    return [value if factor == 1.0 else parts.add("Mul", value, parts.constant(np.float32(factor)))]


def _skip_norm(parts: Parts) -> Body:
    """Of the sum of the first two; the mean and deviation are nobody's."""
    total = parts.plus(parts.input(0), parts.input(1), parts.input(4))
    scales = filter(None, (parts.input(2), parts.input(3)))
    epsilon = parts.attribute("epsilon", 1e-12)
    return [parts.add("LayerNormalization", total, *scales, epsilon=epsilon), "", "", total]


def _skip_rms_norm(parts: Parts) -> Body:
    total = parts.plus(parts.input(0), parts.input(1), parts.input(3))
    epsilon = parts.attribute("epsilon", 1e-12)
    return [parts.add("RMSNormalization", total, parts.input(2), epsilon=epsilon), "", "", total]


def _dynamic_matmul(parts: Parts) -> Body:
    """Weights in integers, one scale or one per column; activations are read as they are."""
    a, b, scale, zero, bias = map(parts.input, range(5))
    weight = parts.add("DequantizeLinear", b, scale, *filter(None, [zero]), axis=1)
    return [parts.plus(parts.add("MatMul", a, weight), bias)]


def _integer_matmul(parts: Parts) -> Body:
    a, b, a_scale, b_scale, a_zero, b_zero, bias = map(parts.input, range(7))
    product = parts.add("MatMulInteger", a, b, a_zero, b_zero)
    real = parts.add("Cast", product, to=onnx.TensorProto.FLOAT)
    return [parts.plus(parts.add("Mul", real, parts.add("Mul", a_scale, b_scale)), bias)]


def _attention(parts: Parts) -> Body:
    """One product makes queries, keys and values."""
    parts.refuse(3, 4, 6)
    if parts.attribute("do_rotary", 0):
        raise Refused("rotary embedding inside of attention")
    sizes = parts.attribute("qkv_hidden_sizes")
    joined = parts.plus(parts.add("MatMul", parts.input(0), parts.input(1)), parts.input(2))
    if sizes:
        split = parts.add("Split", joined, parts.constant(np.array(sizes)), outputs=3, axis=-1)
    else:
        split = parts.add("Split", joined, outputs=3, axis=-1, num_outputs=3)
    return _attend(parts, split, [parts.input(5)])


def _heads_attention(parts: Parts) -> Body:
    parts.refuse(4, 8, 9)
    if any(len(parts.shape(index)) != 3 for index in range(3)):
        raise Refused("queries, keys and values are packed")
    values = [parts.input(index) for index in range(3)]
    if parts.input(3):
        widths = [parts.shape(index)[-1] for index in range(3)]
        biases = parts.add("Split", parts.input(3), parts.constant(np.array(widths)), outputs=3)
        values = [parts.plus(*pair) for pair in zip(values, biases, strict=True)]
    return _attend(parts, values, [parts.input(5), parts.input(6), parts.input(7)])


def _attend(parts: Parts, values: Sequence[str], others: Sequence[str]) -> Body:
    """Attention of queries, keys and values; the others are a mask, past keys and past values."""
    heads = parts.attribute("num_heads")
    made = parts.add(
        "Attention", *values, *others, outputs=3, q_num_heads=heads, kv_num_heads=heads,
        scale=parts.attribute("scale") or None, is_causal=parts.attribute("unidirectional", 0),
    )  # fmt: skip
    return list(made)


def _scaler(parts: Parts) -> Body:
    if len(parts.shape(0)) not in (1, 2):
        raise Refused("it scales other axes than the last")
    value = parts.add("Cast", parts.input(0), to=onnx.TensorProto.FLOAT)
    offset = parts.constant(np.array(parts.attribute("offset", [0.0]), np.float32))
    scale = parts.constant(np.array(parts.attribute("scale", [1.0]), np.float32))
    return [parts.add("Mul", parts.add("Sub", value, offset), scale)]


DEFINITIONS: dict[str, Callable[[Parts], Body]] = {
    "Gelu": _gelu,
    "BiasGelu": _gelu,
    "FastGelu": _fast_gelu,
    "QuickGelu": _quick_gelu,
    "FusedConv": _conv,
    "FusedGemm": _gemm,
    "FusedMatMul": _matmul,
    "TransposeMatMul": _matmul,
    "SkipLayerNormalization": _skip_norm,
    "SkipSimplifiedLayerNormalization": _skip_rms_norm,
    "DynamicQuantizeMatMul": _dynamic_matmul,
    "MatMulIntegerToFloat": _integer_matmul,
    "Attention": _attention,
    "MultiHeadAttention": _heads_attention,
    "Scaler": _scaler,
}
"""By operator type."""
