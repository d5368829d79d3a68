"""Small networks with everything that stands between reuse layers, and streams that suit them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import onnx

from mquans.graph import (
    Binary,
    Concat,
    Conv,
    ConvTranspose,
    Gather,
    Graph,
    LayerNorm,
    Linear,
    MatMul,
    Node,
    Operator,
    Pool,
    Reduce,
    Reshape,
    Resize,
    Slice,
    Softmax,
    Transpose,
    Unary,
)
from mquans.onnx import import_model, read_model, to_onnx
from mquans.plan import LayerPlan, Plan
from mquans.runtime.reference.interpreter import ReferenceNetwork
from mquans.runtime.session import Session

from .builders import plan_of, typed
from .reference import Floats

RELU, SILU, SIGMOID = Unary("relu"), Unary("silu"), Unary("sigmoid")


class Builder:
    """Adds nodes one by one; every method returns the name of its output."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[Node] = []
        self.constants: dict[str, np.ndarray] = {}

    def add(self, op: Operator, *inputs: str) -> str:
        name = f"n{len(self.nodes)}"
        self.nodes.append(Node(name, op, inputs, (name,)))
        return name

    def array(self, *shape: int, gain: float = 1.0) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = (self.rng.normal(size=shape) * gain).astype(np.float32)
        return name

    def conv(
        self, x: str, inputs: int, outputs: int, *, kernel: Sequence[int] = (3, 3),
        strides: Sequence[int] | None = None, pads: Sequence[int] | None = None, groups: int = 1,
        activation: Unary | None = None,
    ) -> str:  # fmt: skip
        axes = len(kernel)
        same = [k // 2 for k in kernel] * 2
        op = Conv(
            tuple(kernel), tuple(strides or [1] * axes), tuple(pads or same), (1,) * axes, groups,
            activation,
        )  # fmt: skip
        fan = inputs // groups * int(np.prod(kernel))
        weight = self.array(outputs, inputs // groups, *kernel, gain=(2 / fan) ** 0.5)
        return self.add(op, x, weight, self.array(outputs, gain=0.1))

    def linear(self, x: str, inputs: int, outputs: int, activation: Unary | None = None) -> str:
        weight = self.array(inputs, outputs, gain=inputs**-0.5)
        return self.add(Linear(activation), x, weight, self.array(outputs, gain=0.1))

    def model(self, shapes: dict[str, tuple[int, ...]], outputs: Sequence[str]) -> bytes:
        graph = Graph("net", tuple(shapes), tuple(outputs), self.nodes, self.constants)
        return bytes(to_onnx(typed(graph, shapes)).SerializeToString())


def detector() -> bytes:
    """Residual blocks, pooling, upsampling, skip connections, two heads: rows split by threads."""
    b = Builder(1)
    stem = b.conv("x", 3, 24, strides=(2, 2), activation=RELU)
    deep = b.conv(b.conv(stem, 24, 40, activation=SILU), 40, 24)
    residual = b.add(RELU, b.add(Binary("add"), stem, deep))
    low = b.add(Pool("max", (2, 2), (2, 2), (0,) * 4, (1, 1)), residual)
    low = b.conv(b.conv(low, 24, 24, groups=24, activation=RELU), 24, 33, kernel=(1, 1))
    left = b.add(Slice((0, 5, 0, 0), (1, 33, 8, 36), (1, 1, 1, 1)), low)
    gate = b.add(Reduce("mean", (2, 3), True), left)
    left = b.add(Binary("mul"), left, b.conv(gate, 28, 28, kernel=(1, 1), activation=SIGMOID))
    up = b.add(Resize("nearest", "asymmetric", "floor", (1, 1, 2, 2), (1, 28, 16, 72)), left)
    joined = b.add(Concat(1), up, residual)
    boxes = b.conv(joined, 52, 17, activation=Unary("clip", (-1.0, 4.0)))
    op = ConvTranspose((2, 2), (2, 2), (0,) * 4, (1, 1), (0, 0), 1)
    mask = b.add(op, joined, b.array(52, 3, 2, 2, gain=0.1), b.array(3))
    return b.model({"x": (1, 3, 32, 144)}, (boxes, b.add(SIGMOID, mask)))


def mobile() -> bytes:
    """Fused chains of pointwise and depthwise layers, batch 2, a classifier at the end."""
    b = Builder(2)
    shape, channels = (2, 5, 11, 13), 5
    x = "x"
    for outputs, stride in ((16, 1), (24, 2), (40, 1)):
        wide = b.conv(x, channels, 3 * channels, kernel=(1, 1), activation=RELU)
        wide = b.conv(
            wide, 3 * channels, 3 * channels, strides=(stride, stride), groups=3 * channels,
            activation=Unary("hard_swish"),
        )  # fmt: skip
        x, channels = b.conv(wide, 3 * channels, outputs, kernel=(1, 1)), outputs
    flat = b.add(Reshape((2, 40)), b.add(Reduce("mean", (2, 3), True), x))
    hidden = b.linear(flat, 40, 33, RELU)
    return b.model({"x": shape}, (b.add(Softmax(1), b.linear(hidden, 33, 10)),))


def speech() -> bytes:
    """1-D convolutions with two inputs, then a sequence model with attention."""
    b = Builder(3)
    both = b.add(Concat(1), "x", b.conv("z", 2, 9, kernel=(5,), activation=RELU))
    x = b.conv(both, 17, 24, kernel=(3,), strides=(2,), pads=(2, 1), activation=SILU)
    x = b.add(Transpose((0, 2, 1)), x)
    normal = b.add(LayerNorm(2, 1e-5), x, b.array(24), b.array(24))
    q, k, v = (b.linear(normal, 24, 24) for _ in range(3))
    scores = b.add(MatMul(), q, b.add(Transpose((0, 2, 1)), k))
    x = b.add(Binary("add"), x, b.linear(b.add(MatMul(), b.add(Softmax(2), scores), v), 24, 24))
    return b.model({"x": (1, 8, 40), "z": (1, 2, 40)}, (b.linear(x, 24, 33, Unary("gelu")), normal))


def video() -> bytes:
    """Convolutions and pooling over windows of pictures, as C3D."""
    b = Builder(5)
    x = b.conv("x", 3, 8, kernel=(3, 3, 3), activation=RELU)
    x = b.add(Pool("max", (1, 2, 2), (1, 2, 2), (0,) * 6, (1,) * 3), x)
    x = b.conv(x, 8, 17, kernel=(3, 3, 3), activation=RELU)
    x = b.conv(x, 17, 17, kernel=(3, 1, 1), activation=RELU)
    # Padded below and to the right only: as C3D pools before its linear layers.
    x = b.add(Pool("max", (2, 2, 2), (2, 2, 2), (0, 0, 0, 0, 1, 1), (1,) * 3), x)
    scores = b.linear(b.add(Reshape((1, 17 * 3 * 3 * 9)), x), 17 * 3 * 3 * 9, 24)
    return b.model({"x": (1, 3, 6, 10, 34)}, (scores,))


def listening() -> bytes:
    """1-D convolutions over windows of features."""
    b = Builder(6)
    x = b.conv("x", 12, 24, kernel=(5,), activation=RELU)
    x = b.add(Pool("max", (3,), (2,), (1, 1), (1,)), x)
    x = b.conv(x, 24, 24, kernel=(3,), strides=(2,), groups=24, activation=RELU)
    return b.model({"x": (1, 12, 20)}, (b.conv(x, 24, 9, kernel=(1,)),))


def with_fallback() -> bytes:
    """One operator in the middle that only onnxruntime runs; a layer behind it reads what a layer
    before it has computed."""
    b = Builder(4)
    first = b.conv("x", 3, 17, activation=RELU)
    second = b.conv(first, 17, 8)
    b.nodes.append(Node("shrink", Unary("neg"), (second,), ("fallback",)))
    joined = b.add(Concat(1), "fallback", b.conv(first, 17, 8, activation=RELU))
    model = onnx.load_model_from_string(
        b.model({"x": (1, 3, 9, 20)}, (b.conv(joined, 16, 5), "fallback"))
    )
    for node in model.graph.node:
        if node.op_type == "Neg":
            node.op_type = "Shrink"
    return bytes(model.SerializeToString())


def joins() -> bytes:
    """Concatenations of concatenations, whose parts are also read or put out by themselves;
    shuffled channels; depthwise kernels of several sizes."""
    b = Builder(5)
    left, right = b.conv("x", 3, 12, activation=RELU), b.conv("x", 3, 12)
    inner = b.add(Concat(1), left, right)
    pooled = b.add(Pool("average", (3, 3), (1, 1), (1,) * 4, (1, 1)), inner)
    outer = b.add(Concat(1), pooled, inner, b.add(SIGMOID, right))
    wide = b.conv(outer, 60, 60, kernel=(5, 5), groups=60, activation=RELU)
    parts = b.add(Concat(1), left, b.conv(wide, 60, 12, kernel=(1, 1)))
    even = b.add(Gather(1, tuple(range(0, 24, 2))), parts)
    odd = b.conv(b.add(Gather(1, tuple(range(1, 24, 2))), parts), 12, 12, groups=12)
    last = b.conv(b.add(Concat(1), even, odd), 24, 5, kernel=(1, 1))
    return b.model({"x": (1, 3, 13, 70)}, (last, right, inner))


def heads() -> bytes:
    """Boxes and scores of three scales in one tensor, taken apart again behind it: parts of
    concatenations along sites, of different shapes, that are written in place."""
    b = Builder(8)
    scales, x = [], "x"
    for scale, (height, width) in enumerate([(8, 70), (4, 35), (2, 18)]):
        x = b.conv(x, 12 if scale else 3, 12, strides=(2, 2), activation=RELU)
        both = b.add(Concat(1), b.conv(x, 12, 8, kernel=(1, 1)), b.conv(x, 12, 3))
        scales.append(b.add(Reshape((1, 11, height * width)), both))
    whole = b.add(Concat(2), *scales)
    sites = 8 * 70 + 4 * 35 + 2 * 18
    boxes = b.add(Slice((0, 0, 0), (1, 8, sites), (1, 1, 1)), whole)
    scores = b.add(SIGMOID, b.add(Slice((0, 8, 0), (1, 11, sites), (1, 1, 1)), whole))
    shares = b.add(Softmax(2), b.add(Reshape((1, 2, 4, sites)), boxes))
    return b.model({"x": (1, 3, 16, 140)}, (shares, scores))


def pooled() -> bytes:
    """Maxima that only reuse layers read: taken on their grids."""
    b = Builder(7)
    x = b.conv("x", 3, 24, strides=(2, 2), activation=RELU)
    x = b.add(Pool("max", (3, 3), (2, 2), (1, 1, 1, 1), (1, 1)), x)
    x = b.conv(x, 24, 24, groups=24, activation=Unary("clip", (0.0, 6.0)))
    x = b.add(Pool("max", (2, 3), (1, 2), (0, 1, 1, 0), (1, 2)), x)
    return b.model({"x": (1, 3, 37, 150)}, (b.conv(x, 24, 17, kernel=(1, 1)),))


MODELS: dict[str, Callable[[], bytes]] = {
    "detector": detector, "mobile": mobile, "speech": speech, "fallback": with_fallback,
    "joins": joins, "video": video, "listening": listening, "pooled": pooled,
    "heads": heads,
}  # fmt: skip

WINDOWS = {"video": 2, "listening": 2}
"""Networks whose frames are windows that slide along an axis."""


@dataclass(frozen=True)
class Network:
    """A model with its plan."""

    model: bytes
    plan: Plan
    slides: int | None = None

    def session(self, **options: Any) -> Session:
        return Session(self.model, self.plan, **options)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return dict(self.plan.input_shapes)

    def frames(self, seed: int, count: int) -> list[dict[str, Floats]]:
        """A moving patch over a still background, noise, still frames, a scene cut."""
        scene = _scene if self.slides is None else partial(_sliding, axis=self.slides)
        streams = [
            list(scene(shape, seed + i, count)) for i, shape in enumerate(self.shapes.values())
        ]
        return [dict(zip(self.shapes, group, strict=True)) for group in zip(*streams, strict=True)]


@cache
def network(name: str, rule: str = "hold", weight_bits: int = 8, bits: int = 6) -> Network:
    """A network calibrated on its own first frames; every other layer has numbers per neuron."""
    model = MODELS[name]()
    graph = import_model(read_model(model))
    slides = WINDOWS.get(name)
    blank = Network(model, plan_of(model, []), slides)
    nodes = list(graph.reuse_layers())
    inputs = list(dict.fromkeys(node.inputs[0] for node in nodes))
    seen = [ReferenceNetwork(graph).run(feeds, inputs) for feeds in blank.frames(0, 3)]
    layers = []
    for i, node in enumerate(nodes):
        values = np.stack([frame[node.inputs[0]] for frame in seen])
        axis = -1 if isinstance(node.op, Linear) else 2
        peaks = np.abs(np.moveaxis(values, axis, 0)).reshape(graph.neurons(node), -1).max(axis=1)
        peak = float(peaks.max()) + 1e-3
        spread = np.maximum(peaks, peak / 16) / 4096
        several = i % 2 == 0
        layers.append(
            LayerPlan(
                name=node.name,
                delta=tuple(spread.tolist()) if several else peak / 4096,
                bits=tuple(bits - 1 + c % 3 for c in range(len(peaks))) if several else bits,
                weight_bits=16 if weight_bits == 16 or i % 3 == 2 else 8,
            )
        )
    return Network(model, plan_of(model, layers, rule=rule), slides)


def _sliding(shape: tuple[int, ...], seed: int, count: int, *, axis: int) -> Iterator[Floats]:
    """Windows of a scene whose pictures lie along an axis, one picture further each time."""
    length = shape[axis]
    one = (*shape[:axis], 1, *shape[axis + 1 :])
    pictures = list(_scene(one, seed, count + length - 1))
    for first in range(count):
        yield np.concatenate(pictures[first : first + length], axis)


def _scene(shape: tuple[int, ...], seed: int, count: int) -> Iterator[Floats]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=shape).astype(np.float32)
    width = shape[-1]
    for index in range(count):
        kind = (index + seed) % 6
        if kind == 5:
            x = rng.normal(size=shape).astype(np.float32) * 3
        elif kind in (1, 3):
            x = x.copy()
            at = int(rng.integers(0, width))
            x[..., at : at + 4] = rng.normal(size=x[..., at : at + 4].shape)
        elif kind == 4:
            x = x + rng.normal(size=shape).astype(np.float32) * np.float32(0.02)
        yield x
