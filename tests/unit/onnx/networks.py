"""Small networks with the building blocks of common exports, in any opset from 7 on.

Each is a function of the opset, since attributes became inputs over time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from .conftest import build, op, values


class Builder:
    """Collects nodes; every method returns the name of the value it makes."""

    def __init__(self, opset: int) -> None:
        self.opset = opset
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        output = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(op(kind, " ".join(inputs), output, **attributes))
        return output

    def constant(self, array: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(array)
        return name

    def weight(self, *shape: int) -> str:
        return self.constant(values(len(self.constants), *shape))

    def conv(
        self, x: str, inputs: int, outputs: int, size: int = 1, *, bias: bool = True, **kwargs: Any
    ) -> str:
        groups = kwargs.get("group", 1)
        names = [x, self.weight(outputs, inputs // groups, size, size)]
        names += [self.weight(outputs)] if bias else []
        return self.add("Conv", *names, pads=[size // 2] * 4, **kwargs)

    def norm(self, x: str, channels: int) -> str:
        statistics = [self.weight(channels) for _ in range(3)]
        variance = self.constant(np.abs(values(9, channels)) + 0.5)
        return self.add("BatchNormalization", x, *statistics, variance)

    def silu(self, x: str) -> str:
        return self.add("Mul", x, self.add("Sigmoid", x))

    def cbs(self, x: str, inputs: int, outputs: int, size: int = 1, **kwargs: Any) -> str:
        return self.silu(
            self.norm(self.conv(x, inputs, outputs, size, bias=False, **kwargs), outputs)
        )

    def reshape(self, x: str, *shape: int) -> str:
        return self.add("Reshape", x, self.constant(np.array(shape)))

    def axes_of(self, kind: str, x: str, *axes: int, **attributes: Any) -> str:
        """An operator whose axes became an input in opset 13 (Squeeze, ReduceSum) or 18."""
        since = 18 if kind == "ReduceMean" else 13
        if self.opset < since:
            return self.add(kind, x, axes=list(axes), **attributes)
        return self.add(kind, x, self.constant(np.array(axes)), **attributes)

    def split(self, x: str, sizes: list[int], axis: int) -> list[str]:
        outputs = [f"split_{len(self.nodes)}_{i}" for i in range(len(sizes))]
        if self.opset < 13:
            node = op("Split", x, " ".join(outputs), axis=axis, split=sizes)
        else:
            names = f"{x} {self.constant(np.array(sizes))}"
            node = op("Split", names, " ".join(outputs), axis=axis)
        self.nodes.append(node)
        return outputs

    def upsample(self, x: str, mode: str = "nearest") -> str:
        if self.opset < 9:
            return self.add("Upsample", x, mode=mode, scales=[1.0, 1.0, 2.0, 2.0])
        scales = self.constant(np.array([1, 1, 2, 2], np.float32))
        if self.opset < 10:
            return self.add("Upsample", x, scales, mode=mode)
        if self.opset < 11:
            return self.add("Resize", x, scales, mode=mode)
        coordinates = "asymmetric" if mode == "nearest" else "half_pixel"
        return self.add(
            "Resize", x, "-", scales,
            mode=mode, nearest_mode="floor", coordinate_transformation_mode=coordinates,
        ) if self.opset >= 13 else self.add(
            "Resize", x, self.constant(np.zeros(0, np.float32)), scales,
            mode=mode, nearest_mode="floor", coordinate_transformation_mode=coordinates,
        )  # fmt: skip

    def model(self, inputs: dict[str, tuple[int, ...]], *outputs: str) -> onnx.ModelProto:
        return build(self.nodes, inputs, outputs, self.constants, opset=self.opset)


def yolov8(opset: int) -> onnx.ModelProto:
    """C2f with split and residual, SPPF, upsample and concat, a head with distribution softmax."""
    b = Builder(opset)
    x = b.cbs("x", 3, 8, 3, strides=[2, 2])
    left, right = b.split(b.cbs(x, 8, 8), [4, 4], 1)
    inner = b.add("Add", right, b.cbs(b.cbs(right, 4, 4, 3), 4, 4, 3))
    a = b.cbs(b.add("Concat", left, right, inner, axis=1), 12, 8)
    d = b.cbs(a, 8, 8, 3, strides=[2, 2])
    pools = [d]
    for _ in range(3):
        pools.append(b.add("MaxPool", pools[-1], kernel_shape=[5, 5], pads=[2] * 4))
    d = b.cbs(b.add("Concat", *pools, axis=1), 32, 8)
    a = b.cbs(b.add("Concat", b.upsample(d), a, axis=1), 16, 8)
    flat = [b.reshape(b.conv(f, 8, 19), 1, 19, -1) for f in (a, d)]
    boxes, scores = b.split(b.add("Concat", *flat, axis=2), [16, 3], 1)
    parts = b.add("Transpose", b.reshape(boxes, 1, 4, 4, 320), perm=[0, 2, 1, 3])
    parts = b.add("Softmax", parts, axis=1) if opset >= 13 else b.add(
        "Transpose",
        b.add("Softmax", b.add("Transpose", parts, perm=[0, 2, 3, 1]), axis=3),
        perm=[0, 3, 1, 2],
    )  # fmt: skip
    ramp = b.constant(np.arange(4, dtype=np.float32).reshape(1, 4, 1, 1))
    distance = b.reshape(b.add("Conv", parts, ramp), 1, 4, 320)
    near, far = b.split(distance, [2, 2], 1)
    anchors = b.weight(1, 2, 320)
    low, high = b.add("Sub", anchors, near), b.add("Add", far, anchors)
    two = b.constant(np.float32(2))
    center = b.add("Div", b.add("Add", low, high), two)
    box = b.add("Concat", center, b.add("Sub", high, low), axis=1)
    scaled = b.add("Mul", box, b.weight(1, 1, 320))
    return b.model({"x": (1, 3, 32, 32)}, b.add("Concat", scaled, b.add("Sigmoid", scores), axis=1))


def resnet(opset: int) -> onnx.ModelProto:
    b = Builder(opset)
    x = b.add("Relu", b.norm(b.conv("x", 3, 8, 7, strides=[2, 2]), 8))
    x = b.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    y = b.add("Relu", b.norm(b.conv(x, 8, 8, 3), 8))
    x = b.add("Relu", b.add("Add", b.norm(b.conv(y, 8, 8, 3), 8), x))
    x = b.add("Flatten", b.add("GlobalAveragePool", x))
    y = b.add("Gemm", x, b.weight(5, 8), b.weight(5), transB=1)
    return b.model({"x": (1, 3, 32, 32)}, b.add("Softmax", y, axis=1))


def mobilenet(opset: int) -> onnx.ModelProto:
    """MobileNetV3 as PyTorch and Paddle write it: hard swish in pieces, squeeze and excitation."""
    b = Builder(opset)

    def hard_sigmoid(x: str) -> str:
        plus = b.add("Add", x, b.constant(np.float32(3)))
        if opset < 11:
            clipped = b.add("Clip", plus, min=0.0, max=6.0)
        else:
            clipped = b.add("Clip", plus, b.constant(np.float32(0)), b.constant(np.float32(6)))
        return b.add("Div", clipped, b.constant(np.float32(6)))

    x = b.norm(b.conv("x", 3, 8, 3, strides=[2, 2], bias=False), 8)
    x = b.add("Mul", x, hard_sigmoid(x))
    x = b.add("Relu", b.norm(b.conv(x, 8, 8, 5, group=8, bias=False), 8))
    gate = b.conv(b.add("Relu", b.conv(b.add("GlobalAveragePool", x), 8, 4)), 4, 8)
    x = b.add("Mul", x, hard_sigmoid(gate))
    return b.model({"x": (1, 3, 16, 16)}, b.norm(b.conv(x, 8, 4, bias=False), 4))


def unet(opset: int) -> onnx.ModelProto:
    b = Builder(opset)
    a = b.add("LeakyRelu", b.norm(b.conv("x", 3, 4, 3), 4), alpha=0.1)
    c = b.add("Relu", b.conv(a, 4, 8, 3, strides=[2, 2]))
    d = b.add("Relu", b.conv(c, 8, 8, 3, strides=[2, 2]))
    up = b.add("ConvTranspose", d, b.weight(8, 8, 2, 2), b.weight(8), strides=[2, 2])
    up = b.add("Relu", b.norm(up, 8))
    y = b.add("Relu", b.conv(b.add("Concat", up, c, axis=1), 16, 4, 3))
    y = b.add("Concat", b.upsample(y, "linear"), a, axis=1)
    return b.model({"x": (1, 3, 16, 24)}, b.add("Sigmoid", b.conv(y, 8, 1)))


def vit(opset: int) -> onnx.ModelProto:
    """Patches, class token, one block with attention, layer norm and GELU written out."""
    b = Builder(opset)

    def layer_norm(x: str) -> str:
        mean = b.axes_of("ReduceMean", x, -1)
        d = b.add("Sub", x, mean)
        square = b.add("Pow", d, b.constant(np.float32(2)))
        spread = b.add("Add", b.axes_of("ReduceMean", square, -1), b.constant(np.float32(1e-5)))
        normal = b.add("Div", d, b.add("Sqrt", spread))
        return b.add("Add", b.add("Mul", normal, b.weight(8)), b.weight(8))

    def linear(x: str, inputs: int, outputs: int) -> str:
        return b.add("Add", b.add("MatMul", x, b.weight(inputs, outputs)), b.weight(outputs))

    def heads(x: str, *perm: int) -> str:
        return b.add("Transpose", b.reshape(x, 1, 5, 2, 4), perm=list(perm))

    patches = b.add("Conv", "x", b.weight(8, 3, 4, 4), strides=[4, 4])
    x = b.add("Transpose", b.reshape(patches, 1, 8, 4), perm=[0, 2, 1])
    x = b.add("Add", b.add("Concat", b.weight(1, 1, 8), x, axis=1), b.weight(1, 5, 8))
    q, k, v = b.split(linear(layer_norm(x), 8, 24), [8, 8, 8], 2)
    scores = b.add("MatMul", heads(q, 0, 2, 1, 3), heads(k, 0, 2, 3, 1))
    scores = b.add("Softmax", b.add("Div", scores, b.constant(np.float32(2))), axis=3)
    mixed = b.add("MatMul", scores, heads(v, 0, 2, 1, 3))
    mixed = b.reshape(b.add("Transpose", mixed, perm=[0, 2, 1, 3]), 1, 5, 8)
    x = b.add("Add", linear(mixed, 8, 8), x)
    h = linear(layer_norm(x), 8, 16)
    erf = b.add("Erf", b.add("Div", h, b.constant(np.float32(np.sqrt(2)))))
    h = b.add("Mul", h, b.add("Add", erf, b.constant(np.float32(1))))
    x = b.add("Add", x, linear(b.add("Mul", h, b.constant(np.float32(0.5))), 16, 8))
    token = b.add("Gather", x, b.constant(np.array(0)), axis=1)
    return b.model({"x": (1, 3, 8, 8)}, linear(token, 8, 3))


def shufflenet(opset: int) -> onnx.ModelProto:
    """A shuffle written with a folded batch, as in FastestDet."""
    b = Builder(opset)
    x = b.conv("x", 3, 8, 3, strides=[2, 2])
    pairs = b.add("Transpose", b.reshape(x, 4, 2, 64), perm=[1, 0, 2])
    pairs = b.reshape(pairs, 2, -1, 4, 8, 8)
    first = b.add("Gather", pairs, b.constant(np.array(0)), axis=0)
    second = b.add("Gather", pairs, b.constant(np.array(1)), axis=0)
    y = b.add(
        "Concat", first, b.conv(b.add("Relu", b.conv(second, 4, 4)), 4, 4, 3, group=4), axis=1
    )
    mixed = b.add("Transpose", b.reshape(y, 1, 2, 4, 8, 8), perm=[0, 2, 1, 3, 4])
    left, right = b.split(b.reshape(mixed, 1, 8, 8, 8), [4, 4], 1)
    return b.model({"x": (1, 3, 16, 16)}, b.conv(left, 4, 2), b.add("Relu", right))


def keyword_spotter(opset: int) -> onnx.ModelProto:
    """Spectrum by a strided convolution, power, mel filters, log, and an LSTM step unrolled into
    products, sigmoid and tanh, as streaming exports write it."""
    b = Builder(opset)
    sound = b.axes_of("Unsqueeze", "x", 1)
    spectrum = b.add("Conv", sound, b.weight(8, 1, 16), strides=[8])
    parts = b.split(spectrum, [4, 4], 1)
    power = b.add("Add", *(b.add("Pow", part, b.constant(np.float32(2))) for part in parts))
    frames = b.add("Transpose", b.add("Sqrt", power), perm=[0, 2, 1])
    mel = b.add("MatMul", frames, b.constant(np.abs(values(5, 4, 3))))
    mel = b.add("Log", b.add("Add", mel, b.constant(np.float32(1e-3))))
    features = b.axes_of("ReduceMean", mel, 1, keepdims=0)
    products = [
        b.add("Gemm", value, b.weight(20, size), b.weight(20), transB=1)
        for value, size in ((features, 3), ("h", 5))
    ]
    i, f, g, o = b.split(b.add("Add", *products), [5, 5, 5, 5], 1)
    kept = b.add("Mul", b.add("Sigmoid", f), "c")
    c = b.add("Add", kept, b.add("Mul", b.add("Sigmoid", i), b.add("Tanh", g)))
    h = b.add("Mul", b.add("Sigmoid", o), b.add("Tanh", c))
    scores = b.add("Exp", b.add("LogSoftmax", b.add("MatMul", h, b.weight(5, 3)), axis=1))
    return b.model({"x": (1, 40), "h": (1, 5), "c": (1, 5)}, scores, h, c)
