"""Small networks that mutations begin from: between them, every kind of operator and of model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

Node = onnx.NodeProto


def node(kind: str, inputs: str, outputs: str, **attributes: Any) -> Node:
    """Inputs and outputs are separated by blanks, '-' is an absent input."""
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(kind, names, outputs.split(), **attributes)


@cache
def networks() -> dict[str, onnx.ModelProto]:
    """By name."""
    rng = np.random.default_rng(0)

    def floats(*shape: int) -> np.ndarray:
        return (rng.normal(size=shape) * 0.3).astype(np.float32)

    def ints(*numbers: int) -> np.ndarray:
        return np.array(numbers, np.int64)

    value = helper.make_tensor_value_info
    branch = helper.make_graph(
        [node("Relu", "x", "o")], "b", [], [value("o", TensorProto.FLOAT, None)]
    )
    other = helper.make_graph(
        [node("Mul", "x two", "o")], "b", [], [value("o", TensorProto.FLOAT, None)]
    )
    body = helper.make_graph(
        [node("Identity", "c", "d"), node("Add", "v two", "w")],
        "body",
        [value("i", TensorProto.INT64, []), value("c", TensorProto.BOOL, []),
         value("v", TensorProto.FLOAT, None)],
        [value("d", TensorProto.BOOL, []), value("w", TensorProto.FLOAT, None)],
    )  # fmt: skip
    picture, tokens = {"x": (1, 3, 12, 12)}, {"x": (1, 10, 16)}
    return {
        "pyramid": model(
            [
                node("Conv", "x w1 b1", "a", pads=[1] * 4, strides=[2, 2], kernel_shape=[3, 3]),
                node("Relu", "a", "b"),
                node("Conv", "b w2", "c", pads=[1] * 4, group=8),
                node("Clip", "c low high", "d"),
                node("MaxPool", "d", "e", kernel_shape=[3, 3], strides=[1, 1], pads=[1] * 4),
                node("Concat", "d e", "f", axis=1),
                node("Resize", "f - scales", "g", mode="nearest"),
                node("ConvTranspose", "g w3", "h", strides=[2, 2], output_padding=[1, 1]),
                node("AveragePool", "h", "y", kernel_shape=[2, 2], strides=[2, 2]),
                node("GlobalAveragePool", "h", "i"),
                node("Flatten", "i", "j"),
                node("Gemm", "j w4 b4", "z", transB=1),
            ],
            picture, ["y", "z"],
            {
                "w1": floats(8, 3, 3, 3), "b1": floats(8), "w2": floats(8, 1, 3, 3),
                "w3": floats(16, 4, 3, 3), "w4": floats(5, 4), "b4": floats(5),
                "low": np.float32(0), "high": np.float32(6),
                "scales": np.array([1, 1, 2, 2], np.float32),
            },
        ),
        "movement": model(
            [
                node("Pad", "x pads", "a"),
                node("Slice", "a starts ends axes steps", "b"),
                node("Conv", "b w1", "c"),
                node("Sigmoid", "c", "s"),
                node("Mul", "c s", "d"),
                node("Transpose", "d", "e", perm=[0, 2, 3, 1]),
                node("Reshape", "e shape", "f"),
                node("MatMul", "f w2", "g"),
                node("Split", "g sizes", "h i", axis=2),
                node("Tile", "h repeats", "j"),
                node("Gather", "i picks", "k", axis=1),
                node("Unsqueeze", "k two64", "l"),
                node("Squeeze", "l two64", "m"),
                node("Expand", "m wide", "n"),
                node("Add", "j n", "y"),
                node("DepthToSpace", "d", "z", blocksize=2),
            ],
            picture, ["y", "z"],
            {
                "pads": ints(0, 0, 1, 1, 0, 0, 1, 1), "starts": ints(1, 0), "ends": ints(99, 12),
                "axes": ints(2, 3), "steps": ints(1, 1), "w1": floats(4, 3, 4, 3),
                "shape": ints(1, -1, 4), "w2": floats(4, 6), "sizes": ints(3, 3),
                "repeats": ints(1, 1, 1), "picks": ints(0), "two64": ints(2),
                "wide": ints(1, 100, 3),
            },
        ),
        "attention": model(
            [
                node("LayerNormalization", "x scale bias", "a", axis=-1),
                node("MatMul", "a wq", "q"),
                node("MatMul", "a wk", "k"),
                node("Transpose", "k", "t", perm=[0, 2, 1]),
                node("MatMul", "q t", "s"),
                node("Softmax", "s", "p", axis=-1),
                node("MatMul", "p a", "o"),
                node("Gelu", "o", "g"),
                node("ReduceMean", "g axis", "m", keepdims=0),
                node("Gemm", "m wo", "y"),
                node("ArgMax", "m", "z", axis=1),
            ],
            tokens, ["y", "z"],
            {
                "scale": floats(16), "bias": floats(16), "wq": floats(16, 16),
                "wk": floats(16, 16), "axis": ints(1), "wo": floats(16, 3),
            },
            opset=20,
        ),
        "recurrent": model(
            [
                node("Conv", "x w1", "c", pads=[1, 1]),
                node("Transpose", "c", "t", perm=[2, 0, 1]),
                node("LSTM", "t wl rl bl", "h hn cn", hidden_size=6),
                node("GRU", "t wg rg", "g", hidden_size=5, linear_before_reset=1),
                node("Squeeze", "h one", "hs"),
                node("Squeeze", "g one", "gs"),
                node("Concat", "hs gs", "y", axis=2),
            ],
            {"x": (1, 4, 7)}, ["y", "hn"],
            {
                "w1": floats(4, 4, 3), "wl": floats(1, 24, 4), "rl": floats(1, 24, 6),
                "bl": floats(1, 48), "wg": floats(1, 15, 4), "rg": floats(1, 15, 5),
                "one": ints(1),
            },
        ),
        "control": model(
            [
                node("Shape", "x", "shape"),
                node("Gather", "shape two64", "height", axis=0),
                node("Greater", "height nine", "tall"),
                node("If", "tall", "a", then_branch=branch, else_branch=other),
                node("ReduceMax", "x", "top", keepdims=0),
                node("Greater", "top two", "big"),
                node("If", "big", "b", then_branch=branch, else_branch=other),
                node("Loop", "three true b", "l", body=body),
                node("Conv", "l w1", "c"),
                node("ConstantOfShape", "shape", "zeros"),
                node("Add", "a zeros", "z"),
                node("Hardmax", "c", "y"),
            ],
            picture, ["y", "z"],
            {
                "two64": np.int64(2), "nine": np.int64(9), "two": np.float32(2),
                "three": np.int64(3), "true": np.array(True), "w1": floats(2, 3, 3, 3),
            },
        ),
    }  # fmt: skip


def model(
    nodes: Sequence[Node],
    inputs: Mapping[str, Sequence[int]],
    outputs: Sequence[str],
    constants: Mapping[str, Any],
    *,
    opset: int = 18,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "network",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [onnx.numpy_helper.from_array(np.asarray(a), name) for name, a in constants.items()],
    )
    imports = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=imports, ir_version=9)
