"""Networks of layers over sites in numpy int64, by definition: output o of a convolution reads
input o * stride - pad + k * dilation, a transposed one adds input i to output
i * stride - pad + k * dilation.

Integers come from `arithmetic`; where windows lie is worked out here, not taken from the engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from mquans.graph import Conv, ConvTranspose, Graph, Linear, Node
from mquans.plan import GatePlan, Plan
from mquans.runtime.lowering.inputs import is_picture
from mquans.runtime.lowering.sites import Analysis, analyse
from mquans.runtime.lowering.sites.activations import CURVE, ELU, GATE, SLOPE, integer_activation
from mquans.runtime.lowering.sites.arithmetic import (
    BLOCK,
    Codes,
    codes_of,
    integer_gate,
)
from mquans.runtime.lowering.sites.depthwise import BLOCK as ONE_WAY
from mquans.runtime.lowering.sites.depthwise import depthwise_layer
from mquans.runtime.lowering.sites.layers import layer_integers
from mquans.runtime.reference.functions import unary

from .reference import Floats, Integers

Marks = np.ndarray[Any, np.dtype[np.bool_]]
"""[B, space...]: one per site."""


def saturate(x: Integers) -> Integers:
    return np.clip(x, -32768, 32767)


def rounding_product(a: Integers, b: Integers) -> Integers:
    return (a * b + 0x4000) >> 15


def activated(numbers: Mapping[str, Any], u: Integers) -> Integers:
    """A function of codes [B, C, space...] as codes.h defines it."""

    def channels(name: str) -> Integers:
        return by_channel(numbers[name], u.ndim)

    y = u
    if numbers["kind"] == SLOPE:
        y = np.where(u < 0, rounding_product(u, channels("slope")), u)
    elif numbers["kind"] in (GATE, CURVE, ELU):
        limit, t = channels("limit"), u
        if numbers["coarser"]:
            t = np.clip(u, -limit, limit) * channels("left")
        t = rounding_product(t, channels("right"))
        if len(numbers["table_a"]):
            a, b, c = (numbers[f"table_{name}"].astype(np.int64) for name in "abc")
            segment, f = np.abs(t) >> 10, (np.abs(t) & 1023) << 5
            slope = b[segment] + rounding_product(f, a[segment])
            s = c[segment] + rounding_product(f, slope)
            if numbers["kind"] == ELU:
                rest = 32767 - rounding_product(s, s)
                y = np.where(u < 0, rounding_product(rest, channels("slope")), u)
                return np.minimum(np.maximum(y, channels("low")), channels("high"))
            s = np.where(t < 0, 32767 - s, s)
        else:
            line = rounding_product(t, numbers["line_slope"]) + numbers["line_start"]
            s = np.maximum(saturate(line), 0)
        if numbers["kind"] == GATE and numbers["finer"]:
            gain, bound = channels("gain"), channels("bound")
            high = np.clip(u * s >> 16, -bound, bound)
            fraction = np.minimum((u * s & 0xFFFF) + channels("rounding"), 0xFFFF)
            y = high * gain + (fraction * gain >> 16)
            assert np.abs(y).max(initial=0) <= 32768
        elif numbers["kind"] == GATE:
            y = rounding_product(u, s)
        else:
            y = saturate(rounding_product(s, numbers["scale"]) + numbers["start"])
    return np.minimum(np.maximum(y, channels("low")), channels("high"))


def by_channel(values: Any, rank: int) -> Integers:
    """[C] against [B, C, space...]."""
    return np.asarray(values, np.int64).reshape(-1, *[1] * (rank - 2))


@dataclass
class Geometry:
    """Which inputs the outputs of a layer read."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]
    transposed: bool
    inputs: tuple[int, ...]  # spatial sizes
    outputs: tuple[int, ...]

    def taps(self) -> Iterator[tuple[tuple[int, ...], list[Any], list[Any]]]:
        """(tap, outputs, inputs) by axis: through the tap, output n reads input n."""
        for tap in product(*map(range, self.kernel)):
            outputs, inputs = list[Any](), list[Any]()
            for axis, k in enumerate(tap):
                stride, offset = self.strides[axis], k * self.dilations[axis] - self.pads[axis]
                sizes = self.outputs[axis], self.inputs[axis]
                one, other = sizes[::-1] if self.transposed else sizes
                pairs = [(n, n * stride + offset) for n in range(one)]
                pairs = [(n, at) for n, at in pairs if 0 <= at < other]
                near, far = [n for n, _ in pairs], [at for _, at in pairs]
                outputs.append(np.asarray(far if self.transposed else near, np.int64))
                inputs.append(np.asarray(near if self.transposed else far, np.int64))
            yield tap, outputs, inputs

    def convolve(self, x: Any, weight: Any, groups: int) -> Any:
        """[B, C, space...] by [O, C/g, kernel...] -> [B, O, space...]."""
        outputs, inputs = weight.shape[:2]
        acc = np.zeros((len(x), outputs, *self.outputs), x.dtype)
        batch = np.arange(len(x))
        for tap, near, far in self.taps():
            read = x[np.ix_(batch, np.arange(x.shape[1]), *far)]
            by_group = read.reshape(len(x), groups, inputs, *read.shape[2:])
            factors = weight[(slice(None), slice(None), *tap)].reshape(groups, -1, inputs)
            sums = np.einsum("bgi...,goi->bgo...", by_group, factors)
            acc[np.ix_(batch, np.arange(outputs), *near)] += sums.reshape(
                len(x), outputs, *read.shape[2:]
            )
        return acc

    def taps_read(self) -> Integers:
        """Taps of every output [space...], those on padding too."""
        counts = np.ones((), np.int64)
        for axis, taps in enumerate(self.kernel):
            o, k = np.arange(self.outputs[axis])[:, None], np.arange(taps)[None]
            at = o + self.pads[axis] - k * self.dilations[axis]
            hits = at % self.strides[axis] == 0 if self.transposed else at == at
            counts = counts[..., None] * hits.sum(axis=1)
        return counts

    def reached(self, moved: Marks) -> Marks:
        """Outputs that read a moved site."""
        marks = np.zeros((len(moved), *self.outputs), bool)
        batch = np.arange(len(moved))
        for _, outputs, inputs in self.taps():
            marks[np.ix_(batch, *outputs)] |= moved[np.ix_(batch, *inputs)]
        return marks


@dataclass
class SiteLayer:
    """The integers of one layer; everything with channels on axis 1."""

    node: Node
    x: Codes
    y: Codes
    geometry: Geometry
    groups: int
    weight: Integers  # [O, C/g, kernel...]
    bias: Integers
    shift: Integers
    function: dict[str, Any]
    scaled: bool = False  # shift holds the bits of floats
    narrow: Integers | int = 0  # [O] 1 where products round

    def __call__(self, x: Integers) -> Integers:
        """Codes of all outputs [B, O, space...]."""
        u = self._sum(x)
        if np.any(self.narrow):
            u = np.where(by_channel(self.narrow, x.ndim), self._narrow(x), u)
        return activated(self.function, u)

    def site_macs(self) -> Integers:
        """Multiplications of every output site."""
        return self.geometry.taps_read() * self.weight.shape[0] * self.weight.shape[1]

    def _sum(self, x: Integers) -> Integers:
        wide = np.broadcast_to(1 - self.narrow, self.bias.shape)
        bias, shift = self.bias * wide, self.shift * wide
        weight = self.weight * wide.reshape(-1, *[1] * (self.weight.ndim - 1))
        acc = self.geometry.convolve(x, weight, self.groups)
        assert np.abs(acc).max(initial=0) < 2**31
        acc += by_channel(bias, x.ndim)
        assert np.abs(acc).max(initial=0) < 2**31
        if self.scaled:
            factors = by_channel(shift, x.ndim).astype(np.int32).view(np.float32)
            return saturate(np.rint(acc.astype(np.float32) * factors).astype(np.int64))
        return saturate(acc >> by_channel(shift, x.ndim))

    def _narrow(self, x: Integers) -> Integers:
        shape = (len(x), len(self.bias), *self.geometry.outputs)
        sums = [np.broadcast_to(by_channel(self.bias, x.ndim), shape), np.zeros(shape, np.int64)]
        batch = np.arange(len(x))
        for index, (tap, near, far) in enumerate(self.geometry.taps()):
            read = np.zeros(shape, np.int64)
            channels = np.arange(shape[1])
            read[np.ix_(batch, channels, *near)] = x[np.ix_(batch, channels, *far)]
            factors = by_channel(self.weight[(slice(None), 0, *tap)], x.ndim)
            sums[index % 2] = saturate(sums[index % 2] + rounding_product(read, factors))
        return saturate(saturate(sums[0] + sums[1]) << by_channel(self.shift, x.ndim))


@dataclass
class FloatLayer:
    """A layer as the graph has it, channels on axis 1.

    Attributes:
        weight: [O, C/g, kernel...].
    """

    op: Conv | ConvTranspose | Linear
    geometry: Geometry
    groups: int
    weight: np.ndarray
    bias: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """In float64."""
        y = self.geometry.convolve(x.astype(np.float64), self.weight, self.groups)
        y += self.bias.reshape(-1, *[1] * (x.ndim - 2))
        return y if self.op.activation is None else unary(self.op.activation, y)


def float_layer(graph: Graph, node: Node) -> FloatLayer:
    """What a node of a graph computes."""
    op = node.op
    assert isinstance(op, Conv | ConvTranspose | Linear)
    weight = np.asarray(graph.constants[node.inputs[1]], np.float64)
    shape, out = graph.shape(node.inputs[0]), graph.shape(node.outputs[0])
    if isinstance(op, Linear):
        groups, axes = 1, len(shape) - 2
        ones, sizes = (1,) * axes, shape[1:-1]
        geometry = Geometry(ones, ones, (0,) * axes, ones, False, sizes, sizes)
        weight = weight.T.reshape(weight.shape[1], weight.shape[0], *ones)
    else:
        groups, axes = op.groups, len(op.kernel)
        geometry = Geometry(
            op.kernel, op.strides, op.pads[:axes], op.dilations, isinstance(op, ConvTranspose),
            shape[2:], out[2:],
        )  # fmt: skip
        if geometry.transposed:
            inputs = shape[1] // groups
            weight = np.concatenate(
                [weight[g * inputs : (g + 1) * inputs].swapaxes(0, 1) for g in range(groups)]
            )
    bias = np.zeros(len(weight))
    if len(node.inputs) > 2:
        bias = np.asarray(graph.constants[node.inputs[2]], np.float64)
    return FloatLayer(op, geometry, groups, weight, bias)


def float_values(graph: Graph, frame: Mapping[str, Floats]) -> dict[str, np.ndarray]:
    """Every value that is coded, in float64 with channels on axis 1."""
    codings = analyse(graph).codings
    values = {name: np.moveaxis(x, codings[name].axis, 1) for name, x in frame.items()}
    for node in graph.nodes:
        values[node.outputs[0]] = float_layer(graph, node)(values[node.inputs[0]])
    return values


def site_layer(graph: Graph, node: Node, x: Codes, y: Codes) -> SiteLayer:
    """The integers that the engine gives a layer."""
    layer = float_layer(graph, node)
    outputs, inputs = layer.weight.shape[:2]
    function = integer_activation(layer.op.activation, y)
    exponents = function.sum_exponents
    if isinstance(layer.op, Conv) and inputs == 1 and 1 < layer.groups == outputs:
        whole = layer.op.activation is not None and layer.op.activation.kind == "quantize"
        numbers = depthwise_layer(
            layer.weight.reshape(outputs, -1), layer.bias, x, exponents, quantized=whole,
            where=node.name,
        )  # fmt: skip
        return SiteLayer(
            node, x, y, layer.geometry, layer.groups,
            numbers.weights.astype(np.int64).reshape(layer.weight.shape),
            numbers.bias.astype(np.int64), numbers.shift.astype(np.int64), function.numbers,
            numbers.scaled, numbers.narrow.astype(np.int64).repeat(ONE_WAY)[:outputs],
        )  # fmt: skip
    group_of = np.arange(outputs) // (outputs // layer.groups)
    integers, _ = layer_integers(
        layer.op, layer.weight, layer.bias, x.unit.reshape(layer.groups, inputs)[group_of],
        exponents, x.limit, where=node.name,
    )  # fmt: skip
    return SiteLayer(
        node, x, y, layer.geometry, layer.groups, integers.weights.astype(np.int64),
        integers.bias.astype(np.int64), integers.shift.astype(np.int64), function.numbers,
        integers.scaled,
    )  # fmt: skip


@dataclass
class SiteReference:
    """Held codes of all values of one stream, frame by frame.

    Attributes:
        held: codes of every value, channels on axis 1.
        active, taken: sites of every value in the last frame.
    """

    graph: Graph
    plan: Plan
    held: dict[str, Integers] = field(default_factory=dict)
    active: dict[str, Marks] = field(default_factory=dict)
    taken: dict[str, Marks] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.analysis: Analysis = analyse(self.graph)
        self.layers = {
            node.name: site_layer(
                self.graph, node, self.codes(node.inputs[0]), self.codes(node.outputs[0])
            )
            for node in self.graph.nodes
        }

    def codes(self, value: str) -> Codes:
        """What the plan says of a value's codes."""
        axis = self.analysis.codings[value].axis
        [plan] = [tensor for tensor in self.plan.tensors if tensor.name == value]
        return codes_of(plan, self.graph.shape(value)[axis])

    def step(self, frame: Mapping[str, Floats], *, keyframe: bool = False) -> None:
        """Takes a frame; keyframe also when it is the first one, or most of its pictures is new."""
        brought = {name: self._encoded(name, array) for name, array in frame.items()}
        keyframe = keyframe or not self.held or self._mostly_new(brought)
        for name, fresh in brought.items():
            self._gate(name, fresh, np.ones((len(fresh), *fresh.shape[2:]), bool), keyframe)
        for layer in self.layers.values():
            source, value = layer.node.inputs[0], layer.node.outputs[0]
            fresh = layer(self.held[source])
            active = layer.geometry.reached(self.taken[source])
            self._gate(value, fresh, active | keyframe, keyframe)

    def outputs(self) -> dict[str, Floats]:
        """Of the network, in the axis order of ONNX."""
        found = {}
        for name in self.graph.outputs:
            held = self.held[name]
            units = self.codes(name).unit.astype(np.float32).reshape(-1, *[1] * (held.ndim - 2))
            found[name] = np.moveaxis(
                held.astype(np.float32) * units, 1, self.analysis.codings[name].axis
            )
        return found

    def _encoded(self, name: str, array: Floats) -> Integers:
        codes = self.codes(name)
        x = np.moveaxis(array, self.analysis.codings[name].axis, 1)
        units = codes.unit.astype(np.float32).reshape(-1, *[1] * (x.ndim - 2))
        with np.errstate(over="ignore"):
            return np.clip(np.rint(x / units), -codes.limit, codes.limit).astype(np.int64)

    def _mostly_new(self, brought: Mapping[str, Integers]) -> bool:
        """Four fifths of all pixels of pictures are taken."""
        taken = [
            self._taken(name, fresh) for name, fresh in brought.items() if self._is_picture(name)
        ]
        pixels = sum(marks.size for marks in taken)
        return bool(taken) and 5 * sum(int(marks.sum()) for marks in taken) >= 4 * pixels

    def _is_picture(self, value: str) -> bool:
        return value in self.graph.inputs and is_picture(self.graph, self.analysis, value)

    def _taken(self, value: str, fresh: Integers) -> Marks:
        plan = next(tensor for tensor in self.plan.tensors if tensor.name == value)
        change = fresh - self.held[value]
        return self._decide(plan.gate, self.codes(value), change, self._is_picture(value))

    def _gate(self, value: str, fresh: Integers, active: Marks, keyframe: bool) -> None:
        if keyframe:
            taken = np.ones(active.shape, bool)
            self.held[value] = fresh
        else:
            held, taken = self.held[value], self._taken(value, fresh)
            assert not (taken & ~active).any(), "a site that nothing reached has other codes"
            self.held[value] = np.where(taken[:, None], fresh, held)
        self.active[value], self.taken[value] = active, taken

    def _decide(
        self, plan: GatePlan | None, codes: Codes, change: Integers, picture: bool
    ) -> Marks:
        gate = integer_gate(plan, self.plan.tolerance, codes, BLOCK if picture else 1)
        products = rounding_product(saturate(change), by_channel(gate.weight, change.ndim))
        bounded = np.clip(products, -gate.largest, gate.largest)
        total = np.square(bounded).sum(axis=1)
        if picture:
            total = of_blocks(total)
        assert total.max(initial=0) < 2**31
        return np.asarray(total > gate.limit)


def of_blocks(total: Integers) -> Integers:
    """Every pixel of [B, H, W] gets the sum of its block of two by two."""
    height, width = total.shape[1:]
    padded = np.pad(total, ((0, 0), (0, height % 2), (0, width % 2)))
    sums = padded.reshape(len(total), padded.shape[1] // 2, 2, -1, 2).sum(axis=(2, 4))
    return sums.repeat(2, axis=1).repeat(2, axis=2)[:, :height, :width]
