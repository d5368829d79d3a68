"""Multiplications of operators that only onnxruntime runs."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import onnx

WEIGHTS = {
    "Conv": 1, "ConvInteger": 1, "DeformConv": 1, "QLinearConv": 3, "ConvTranspose": 1,
    "MatMul": 1, "MatMulInteger": 1, "QLinearMatMul": 3, "Gemm": 1, "QGemm": 3,
    "LSTM": 1, "GRU": 1, "RNN": 1,
}  # fmt: skip
"""Input that holds the weights, or the second operand, of the operators that are known."""

Shape = tuple[int, ...]


def macs_of(node: onnx.NodeProto, shape: Callable[[str], Shape]) -> int:
    """Of one evaluation; 0 where the operator is not known, or a size depends on the data.

    Args:
        shape: of a value that the node reads or makes.
    """
    if node.op_type not in WEIGHTS:
        return 0
    x, weight = shape(node.input[0]), shape(node.input[WEIGHTS[node.op_type]])
    y = shape(next(value for value in node.output if value))
    if min((*x, *weight, *y), default=-1) < 0:
        return 0
    match node.op_type:
        case "LSTM" | "GRU" | "RNN":
            steps_and_batch = prod(x[:-1])
            return steps_and_batch * (prod(weight) + prod(shape(node.input[2])))
        case "ConvTranspose":
            return prod(x) * prod(weight[1:])
        case "MatMul" | "MatMulInteger" | "QLinearMatMul":
            return prod(y) * x[-1]
        case "Gemm" | "QGemm":
            return prod(x) * y[-1]
        case _:
            return prod(y) * prod(weight[1:])
