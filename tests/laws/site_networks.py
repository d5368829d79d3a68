"""Random networks of layers over sites, plans that give their tensors codes, and their frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
from hypothesis import reject
from hypothesis import strategies as st

from mquans import _native
from mquans.errors import PlanError
from mquans.graph import Conv, ConvTranspose, Graph, Linear, Node, Unary
from mquans.plan import GatePlan, Plan, TensorPlan
from mquans.runtime.lowering.lowered import Lowered
from mquans.runtime.lowering.program import lower
from mquans.runtime.lowering.sites import analyse
from mquans.runtime.lowering.sites.activations import exponents_of
from mquans.runtime.lowering.sites.arithmetic import codes_of
from mquans.runtime.session import available_isas

from .builders import PROVENANCE, typed
from .reference import Floats, Integers
from .site_reference import SiteReference, float_layer, float_values

ACTIVATIONS = (
    None, Unary("relu"), Unary("clip", (-0.5, 1.5)), Unary("leaky_relu", (0.1,)), Unary("silu"),
    Unary("elu", (1.0,)), Unary("elu", (0.3,)),
    Unary("gelu"), Unary("gelu_tanh"), Unary("sigmoid"), Unary("tanh"), Unary("hard_swish"),
    Unary("hard_sigmoid", (0.2, 0.5)), Unary("quantize", (-3.0, 5.0)),
)  # fmt: skip
"""One of every kind that has an integer form."""

CHANNELS = (1, 3, 5, 17, 24)
STEPS = ((0.0, 255.0), (-128.0, 127.0), (-3.0, 252.0), (-255.0, 0.0), (0.0, 15.0))
MOST_SITES = 500
MOVES = ("still", "one", "few", "drift", "all", "saturate", "zero")
VARIANTS = [(isa, threads) for isa in available_isas() for threads in (1, 2)]


@dataclass(frozen=True)
class SiteNetwork:
    """A graph with its plan."""

    graph: Graph
    plan: Plan

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return dict(self.plan.input_shapes)

    def reference(self) -> SiteReference:
        return SiteReference(self.graph, self.plan)

    def frames(self, moves: Sequence[str], seed: int) -> Iterator[dict[str, Floats]]:
        """A first frame, and one more per move."""
        rng = np.random.default_rng(seed)
        x = {name: rng.normal(size=shape) for name, shape in self.shapes.items()}
        yield {name: array.astype(np.float32) for name, array in x.items()}
        for move in moves:
            x = {name: moved(array, move, rng) for name, array in x.items()}
            yield {name: array.astype(np.float32) for name, array in x.items()}


def moved(x: np.ndarray, move: str, rng: np.random.Generator) -> np.ndarray:
    """The next frame; sites change with all their channels."""
    sites = np.zeros((x.shape[0], 1, *x.shape[2:]), bool)
    if move == "one":
        sites.flat[rng.integers(sites.size)] = True
    elif move == "few":
        sites = rng.random(sites.shape) < 0.05
    elif move in ("all", "saturate"):
        sites[:] = True
    elif move == "drift":
        return x + rng.normal(size=x.shape) * 0.02
    elif move == "zero":
        return np.zeros_like(x)
    return np.where(sites, rng.normal(size=x.shape) * (100 if move == "saturate" else 1), x)


class SiteStream:
    """A native stream of one way to run a network."""

    def __init__(self, net: SiteNetwork, isa: str = "", threads: int = 1) -> None:
        self.net = net
        isa = isa or available_isas()[-1]
        self.lowered: Lowered = lower(net.graph, net.plan, isa=isa, threads=threads)
        self.native = _native.Stream(self.lowered.program)
        self.frames = 0

    def another(self) -> SiteStream:
        """A second stream of the same program."""
        other = object.__new__(SiteStream)
        other.net, other.lowered, other.frames = self.net, self.lowered, 0
        other.native = _native.Stream(self.lowered.program)
        return other

    def step(self, frame: Mapping[str, Floats], *, keyframe: bool = False) -> dict[str, Floats]:
        outputs = self._empty()
        arrays = [np.ascontiguousarray(frame[name]) for name in self.net.graph.inputs]
        assert self.native.step(arrays, list(outputs.values()), keyframe or not self.frames)
        self.frames += 1
        return outputs

    def recompute(self) -> dict[str, Floats]:
        """Everything again from held codes; the outputs."""
        self.native.run(0, len(self.lowered.program.steps), True, True)
        return self.outputs()

    @property
    def codes(self) -> Integers:
        """All held codes, tensor by tensor."""
        tensors = self.lowered.sites.tensors.values()
        return np.concatenate([self.native.read_codes(tensor).reshape(-1) for tensor in tensors])

    def restored(self) -> SiteStream:
        """A second stream that continues from the held codes of this one."""
        other = self.another()
        for tensor in self.lowered.sites.tensors.values():
            other.native.write_codes(tensor, self.native.read_codes(tensor))
        other.frames = self.frames
        return other

    @property
    def reports(self) -> list[tuple[int, int, int]]:
        """(sites computed, sites taken, MACs) of every layer in the last frame."""
        return [(active, taken, macs) for _, active, taken, macs in self.native.site_reports]

    def outputs(self) -> dict[str, Floats]:
        outputs = self._empty()
        self.native.fetch(list(outputs.values()))
        return outputs

    def held(self, value: str) -> Integers:
        """Codes of a value, channels on axis 1."""
        x = self.lowered.sites.values[value]
        codes = np.asarray(self.native.read_codes(x.tensor), np.int64).reshape(x.dims)
        return np.moveaxis(codes, -1, 1)

    def taken(self, value: str) -> np.ndarray:
        x = self.lowered.sites.values[value]
        return np.asarray(self.native.read_code_mask(x.tensor), bool).reshape(x.dims[:-1])

    def _empty(self) -> dict[str, Floats]:
        shapes = {name: self.net.graph.shape(name) for name in self.lowered.outputs}
        return {name: np.full(shape, np.nan, np.float32) for name, shape in shapes.items()}


def plan_of_sites(graph: Graph, rng: np.random.Generator, **options: Any) -> Plan:
    """Exponents of each channel from a few random frames, some too fine or too coarse; gates with
    random scales.

    Args:
        options: tolerance; exact: no channel saturates; most_bits: of codes.
    """
    exact, most_bits = options.pop("exact", False), options.pop("most_bits", 16)
    analysis = analyse(graph)
    coded = analysis.fresh()
    shapes = {name: graph.shape(name) for name in graph.inputs}
    seen = [
        float_values(graph, {n: rng.normal(size=s).astype(np.float32) for n, s in shapes.items()})
        for _ in range(2)
    ]
    producers = graph.producers()
    tensors = []
    for name, coding in coded.items():
        values = np.stack([np.moveaxis(frame[name], 1, 0) for frame in seen], axis=1)
        values = values.reshape(len(values), -1)
        peak = np.abs(values).max(axis=1) + 1e-9
        bits = min(15, most_bits) if exact else int(rng.integers(8, most_bits + 1))
        limit = 2 ** (bits - 1) - 1
        exponents = np.ceil(np.log2(4 * peak / limit)).astype(int)
        if not exact:
            exponents += rng.integers(-2, 2, len(exponents))
        exponents = np.maximum(exponents, exponents.max() - 8)
        node = producers.get(name)
        activation = getattr(node.op, "activation", None) if node else None
        if node:
            x = next(tensor for tensor in tensors if tensor.name == node.inputs[0])
            exponents = np.maximum(exponents, finest_exponents(graph, node, x))
        exponents = exponents_of(activation, exponents, limit)
        scale = np.maximum(values.std(axis=1), 1e-6) * np.exp2(rng.integers(-3, 4, len(peak)))
        gate = GatePlan(scale=tuple(scale.tolist()), factor=float(rng.uniform(0.5, 2)))
        tensors.append(
            TensorPlan(
                name=name,
                axis=coding.axis,
                exponents=tuple(exponents.tolist()),
                bits=bits,
                gate=None if rng.random() < 0.1 else gate,
            )
        )
    return Plan(
        model="net", model_sha256="0" * 64, input_shapes=shapes, tensors=tuple(tensors), layers=(),
        provenance=PROVENANCE, **options,
    )  # fmt: skip


def finest_exponents(graph: Graph, node: Node, x: TensorPlan) -> np.ndarray:
    """Of a layer's outputs, with which no sum overflows; channels that were silent would have finer
    ones."""
    layer = float_layer(graph, node)
    codes = codes_of(x, layer.weight.shape[1] * layer.groups)
    largest = (codes.unit * codes.limit).reshape(layer.groups, 1, -1)
    magnitude = np.abs(layer.weight).reshape(
        layer.groups, -1, largest.shape[-1], prod(layer.geometry.kernel)
    )
    total = (magnitude.sum(axis=-1) * largest).sum(axis=-1).reshape(-1) + np.abs(layer.bias)
    return np.ceil(np.log2(total + 1e-9)).astype(int) - 28


def _many(draw: st.DrawFn, count: int, low: int, high: int) -> tuple[int, ...]:
    return tuple(draw(st.integers(low, high)) for _ in range(count))


def _channels(draw: st.DrawFn, inputs: int) -> tuple[int, int]:
    """(outputs, groups)"""
    kind = draw(st.sampled_from(("plain", "depthwise", "multiplier", "grouped")))
    if kind == "depthwise":
        return inputs, inputs
    if kind == "multiplier":
        return 2 * inputs, inputs
    if kind == "grouped":
        groups = next(g for g in (3, 2, 5, inputs) if inputs % g == 0)
        return groups * draw(st.sampled_from((1, 3, 5, 17))), groups
    return draw(st.sampled_from(CHANNELS)), 1


def _operator(draw: st.DrawFn, shape: tuple[int, ...], groups: int) -> Conv | ConvTranspose | None:
    """A convolution over the axes of a shape; pads may be negative or larger than the kernel."""
    axes = len(shape) - 2
    kernel, dilations = _many(draw, axes, 1, 5 if axes < 3 else 3), _many(draw, axes, 1, 2)
    strides = _many(draw, axes, 1, 3)
    begins, ends = _many(draw, axes, -1, 3), list(_many(draw, axes, -1, 3))
    activation = draw(st.sampled_from(ACTIVATIONS))
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    if draw(st.booleans()):
        extra = tuple(draw(st.integers(0, s - 1)) for s in strides)
        full = [
            (n - 1) * s + w + e for n, s, w, e in zip(shape[2:], strides, spans, extra, strict=True)
        ]
        ends = [min(e, n - b - 1) for n, b, e in zip(full, begins, ends, strict=True)]
        sizes = [n - b - e for n, b, e in zip(full, begins, ends, strict=True)]
        if prod(sizes) > MOST_SITES:
            return None
        return ConvTranspose(
            kernel, strides, (*begins, *ends), dilations, extra, groups, activation
        )
    ends = [max(e, w - n - b) for n, b, e, w in zip(shape[2:], begins, ends, spans, strict=True)]
    return Conv(kernel, strides, (*begins, *ends), dilations, groups, activation)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """One to three convolutions, each reading the input or an earlier one."""
    axes = draw(st.sampled_from((1, 2, 2, 2, 3)))
    space = list(_many(draw, axes, 1, 8 if axes < 3 else 5))
    if axes < 3 and draw(st.booleans()):
        space[-1] += 60  # more than one word of marks
        space[:-1] = [min(n, 4) for n in space[:-1]]
    shapes = {"x": (draw(st.integers(1, 2)), draw(st.sampled_from(CHANNELS)), *space)}
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    nodes, constants = list[Node](), dict[str, np.ndarray]()
    for index in range(draw(st.integers(1, 3))):
        source = draw(st.sampled_from(list(shapes)))
        inputs = shapes[source][1]
        outputs, groups = _channels(draw, inputs)
        op = _operator(draw, shapes[source], groups)
        if op is None:
            continue
        split = (
            (inputs, outputs // groups)
            if isinstance(op, ConvTranspose)
            else (outputs, inputs // groups)
        )
        weight = rng.normal(size=(*split, *op.kernel)) * 2.0 ** rng.uniform(-4, 1)
        if rng.random() < 0.2:
            np.moveaxis(weight, 0 if isinstance(op, Conv) else 1, 0)[0] = 0  # dead outputs
        name = f"y{index}"
        constants[f"w{index}"] = weight.astype(np.float32)
        names = [source, f"w{index}"]
        if rng.random() < 0.7:
            constants[f"b{index}"] = rng.normal(size=outputs).astype(np.float32)
            names.append(f"b{index}")
        nodes.append(Node(f"layer{index}", op, tuple(names), (name,)))
        graph = Graph("net", ("x",), (name,), nodes, constants)
        shapes[name] = typed(graph, {"x": shapes["x"]}).shape(name)
    if not nodes:
        return draw(graphs())
    read = {node.inputs[0] for node in nodes}
    results = tuple(name for name in shapes if name not in read and name != "x")
    return typed(Graph("net", ("x",), results, nodes, constants), {"x": shapes["x"]})


@st.composite
def networks(draw: st.DrawFn, tolerances: Sequence[float] = (0.0, 0.02, 0.3)) -> SiteNetwork:
    """A random graph with a random plan."""
    graph = draw(graphs())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    tolerance = draw(st.sampled_from(tuple(tolerances)))
    net = SiteNetwork(graph, plan_of_sites(graph, rng, tolerance=tolerance))
    try:
        net.reference()
    except PlanError:  # sums of a sigmoid are coarser than its table
        reject()
    return net


@st.composite
def quantized_graphs(draw: st.DrawFn) -> Graph:
    """Layers whose codes are whole steps of 8 bits, and all but the first of which have weights of
    8 bits."""
    space = _many(draw, draw(st.sampled_from((1, 2, 2, 3))), 1, 7)
    shape: tuple[int, ...] = (draw(st.integers(1, 2)), draw(st.sampled_from(CHANNELS)), *space)
    fed = {"x": shape}
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    nodes, constants = list[Node](), dict[str, np.ndarray]()
    for index, source in enumerate(("x", "y0", "y1")):
        inputs = shape[1]
        outputs, groups = _channels(draw, inputs)
        op = _operator(draw, shape, groups)
        if op is None:
            break
        transposed = isinstance(op, ConvTranspose)
        split = (inputs, outputs // groups) if transposed else (outputs, inputs // groups)
        op = replace(op, activation=Unary("quantize", draw(st.sampled_from(STEPS))))
        whole = rng.integers(-128, 128, (*split, *op.kernel)).astype(np.float64)
        unit = 2.0 ** rng.uniform(-12, -6, outputs)
        by_output = unit.reshape(groups, -1).repeat(inputs // groups, 0) if transposed else unit
        per = split if transposed else (outputs, 1)
        steps = by_output.reshape(*per, *[1] * len(space))
        constants[f"w{index}"] = (whole * steps).astype(np.float32)
        constants[f"b{index}"] = (rng.integers(-9999, 9999, outputs) * unit).astype(np.float32)
        nodes.append(Node(f"layer{index}", op, (source, f"w{index}", f"b{index}"), (f"y{index}",)))
        graph = typed(Graph("net", ("x",), (f"y{index}",), nodes, constants), fed)
        shape = graph.shape(f"y{index}")
    if not nodes:
        reject()
    return graph


@st.composite
def tiled_graphs(draw: st.DrawFn) -> Graph:
    """Two 3x3 convolutions in steps of one, of enough channels to be computed by tiles."""
    height, width = _many(draw, 2, 5, 9)
    if draw(st.booleans()):
        height, width = min(height, 5), width + 60  # more than one word of marks
    channels = [draw(st.sampled_from((12, 17, 24, 33, 40))) for _ in range(3)]
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    nodes, constants = list[Node](), dict[str, np.ndarray]()
    for index, (inputs, outputs) in enumerate(pairwise(channels)):
        pads = tuple(draw(st.integers(0, 2)) for _ in range(4))
        op = Conv((3, 3), (1, 1), pads, (1, 1), 1, draw(st.sampled_from(ACTIVATIONS)))
        weight = rng.normal(size=(outputs, inputs, 3, 3)) * 2.0 ** rng.uniform(-4, -1)
        constants[f"w{index}"] = weight.astype(np.float32)
        constants[f"b{index}"] = rng.normal(size=outputs).astype(np.float32)
        names = ("x" if index == 0 else "y0", f"w{index}", f"b{index}")
        nodes.append(Node(f"layer{index}", op, names, (f"y{index}",)))
    shape = (draw(st.integers(1, 2)), channels[0], height, width)
    return typed(Graph("net", ("x",), ("y1",), nodes, constants), {"x": shape})


def linear_network(shape: tuple[int, ...], outputs: int, op: Linear, seed: int) -> SiteNetwork:
    """One linear layer over many sites."""
    rng = np.random.default_rng(seed)
    constants = {
        "w": (rng.normal(size=(shape[-1], outputs)) * 0.3).astype(np.float32),
        "b": rng.normal(size=outputs).astype(np.float32),
    }
    nodes = [Node("layer", op, ("x", "w", "b"), ("y",))]
    graph = typed(Graph("net", ("x",), ("y",), nodes, constants), {"x": shape})
    return SiteNetwork(graph, plan_of_sites(graph, rng, tolerance=0.1))
