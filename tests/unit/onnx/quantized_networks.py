"""Small networks that onnxruntime has quantized, in every form that it writes."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime import quantization
from onnxruntime.quantization import QuantFormat, QuantType

from .conftest import build, op, values

SHAPE = (1, 3, 24, 32)

FORMS: dict[str, dict[str, Any]] = {
    "pairs": {},
    "pairs, int8, one scale per weight": {
        "per_channel": False,
        "activation_type": QuantType.QInt8,
    },
    "pairs, symmetric": {
        "activation_type": QuantType.QInt8,
        "extra_options": {"ActivationSymmetric": True},
    },
    "operators": {"quant_format": QuantFormat.QOperator},
    "operators, uint8 weights, one scale per weight": {
        "quant_format": QuantFormat.QOperator,
        "per_channel": False,
        "weight_type": QuantType.QUInt8,
    },
}
"""Options of `quantize_static` over the defaults here."""


def convolutions() -> onnx.ModelProto:
    """What detectors are made of: depthwise layers, a residual sum, a concatenation, pools, nearest
    resizing, cut-off and curved activations, and a linear layer behind."""
    nodes = [
        op("Conv", "x w0 b0", "a", pads=[1] * 4, strides=[2, 2], kernel_shape=[3, 3]),
        op("Relu", "a", "ar"),
        op("Conv", "ar w1 b1", "d", pads=[1] * 4, group=8),
        op("Clip", "d zero six", "dc"),
        op("Conv", "dc w2 b1", "p"),
        op("Add", "p ar", "s"),
        op("MaxPool", "s", "m", kernel_shape=[2, 2], strides=[2, 2]),
        op("Conv", "m w2 b1", "n"),
        op("LeakyRelu", "n", "nl", alpha=0.1),
        op("Resize", "nl - scales", "u", mode="nearest", nearest_mode="floor",
           coordinate_transformation_mode="asymmetric"),
        op("Concat", "u s", "c", axis=1),
        op("Conv", "c w3 b0", "e", pads=[1] * 4),
        op("Sigmoid", "e", "map"),
        op("GlobalAveragePool", "e", "g"),
        op("Flatten", "g", "f"),
        op("Gemm", "f wf bf", "score", transB=1),
    ]  # fmt: skip
    constants = {
        "w0": values(0, 8, 3, 3, 3), "b0": values(1, 8), "w1": values(2, 8, 1, 3, 3),
        "b1": values(3, 8), "w2": values(4, 8, 8, 1, 1), "w3": values(5, 8, 16, 3, 3) / 4,
        "wf": values(6, 5, 8), "bf": values(7, 5), "zero": np.float32(0), "six": np.float32(6),
        "scales": np.float32([1, 1, 2, 2]),
    }  # fmt: skip
    return declared(build(nodes, {"x": SHAPE}, ["map", "score"], constants))


def gated() -> onnx.ModelProto:
    """What newer detectors are made of: SiLUs, a split whose part is added to, a concatenation of
    parts with scales of their own, channels weighted by what is in them, a softened ReLU."""
    nodes = [
        op("Conv", "x w0 b0", "a", pads=[1] * 4, strides=[2, 2]),
        op("Sigmoid", "a", "as"),
        op("Mul", "a as", "h"),
        op("Split", "h half", "h0 h1", axis=1),
        op("Conv", "h1 w1 b1", "c", pads=[1] * 4),
        op("Sigmoid", "c", "cs"),
        op("Mul", "c cs", "d"),
        op("Add", "h1 d", "e"),
        op("Concat", "h0 h1 e", "j", axis=1),
        op("Conv", "j w2 b0", "k"),
        op("Sigmoid", "k", "ks"),
        op("Mul", "k ks", "l"),
        op("GlobalAveragePool", "l", "g"),
        op("Conv", "g w3 b0", "gc"),
        op("Sigmoid", "gc", "gs"),
        op("Mul", "l gs", "m"),
        op("Conv", "m w4 b2", "n", pads=[1] * 4),
        op("Softplus", "n", "nt"),
        op("Conv", "nt w5 b2", "y"),
    ]
    constants = {
        "w0": values(0, 8, 3, 3, 3), "b0": values(1, 8), "w1": values(2, 4, 4, 3, 3),
        "b1": values(3, 4), "w2": values(4, 8, 12, 1, 1), "w3": values(5, 8, 8, 1, 1),
        "w4": values(6, 6, 8, 3, 3) / 4, "b2": values(7, 6), "w5": values(8, 6, 6, 1, 1),
        "half": np.array([4, 4]),
    }  # fmt: skip
    return declared(build(nodes, {"x": SHAPE}, ["y"], constants))


def tokens() -> onnx.ModelProto:
    """Matrix products of an attention: with weights, and of two computed operands."""
    nodes = [
        op("MatMul", "x wq", "q"),
        op("MatMul", "x wk", "k"),
        op("Transpose", "k", "kt", perm=[0, 2, 1]),
        op("MatMul", "q kt", "s"),
        op("Softmax", "s", "p", axis=-1),
        op("MatMul", "p x", "v"),
        op("MatMul", "v wv", "h"),
        op("Add", "h bias", "y"),
    ]
    constants = {"wq": values(0, 16, 16), "wk": values(1, 16, 16), "wv": values(2, 16, 12)}
    constants |= {"bias": values(3, 12)}
    return declared(build(nodes, {"x": (1, 20, 16)}, ["y"], constants))


def memory() -> onnx.ModelProto:
    """A recurrent layer in both directions, and a linear one behind."""
    nodes = [
        op("LSTM", "x W R B", "s", hidden_size=6, direction="bidirectional"),
        op("Transpose", "s", "t", perm=[0, 2, 1, 3]),
        op("Reshape", "t shape", "f"),
        op("MatMul", "f w", "y"),
    ]
    constants = {
        "W": values(0, 2, 24, 16), "R": values(1, 2, 24, 6), "B": values(2, 2, 48),
        "w": values(3, 12, 5), "shape": np.array([20, 1, 12]),
    }  # fmt: skip
    return declared(build(nodes, {"x": (20, 1, 16)}, ["y"], constants))


def declared(model: onnx.ModelProto) -> onnx.ModelProto:
    for value in model.graph.output:
        value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT
    return onnx.shape_inference.infer_shapes(model)


def clip(shape: tuple[int, ...], frames: int = 12) -> list[np.ndarray]:
    """A quiet stream."""
    rng = np.random.default_rng(5)
    still = rng.normal(size=shape).astype(np.float32)
    made = []
    for number in range(frames):
        still = still.copy()
        still[..., number : number + 4] = rng.normal(size=still[..., :4].shape)
        made.append(still)
    return made


@cache
def static(name: str, form: str, **more: Any) -> bytes:
    """A network quantized with ranges from `clip`.

    Args:
        name: of a function here.
    """
    model = globals()[name]()
    shape = tuple(dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim)
    options = {
        "quant_format": QuantFormat.QDQ,
        "per_channel": True,
        "activation_type": QuantType.QUInt8,
        "weight_type": QuantType.QInt8,
        **FORMS[form],
        **more,
    }
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "quantized.onnx")
        quantization.quantize_static(model, str(target), _Frames(clip(shape)), **options)
        return target.read_bytes()


@cache
def dynamic(name: str, weights: QuantType = QuantType.QInt8) -> bytes:
    """A network with integer weights, whose activations are quantized frame by frame."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "quantized.onnx")
        quantization.quantize_dynamic(globals()[name](), str(target), weight_type=weights)
        return target.read_bytes()


class _Frames(quantization.CalibrationDataReader):
    def __init__(self, frames: list[np.ndarray]) -> None:
        self._frames = iter(frames)

    def get_next(self) -> dict[str, np.ndarray] | None:
        frame = next(self._frames, None)
        return None if frame is None else {"x": frame}
