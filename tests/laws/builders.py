"""From a layer or a graph to a session, and streams of frames that probe it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from mquans.graph import Conv, ConvTranspose, Graph, Linear, Node, ValueType, infer
from mquans.onnx import import_model, read_model, to_onnx
from mquans.plan import LayerPlan, Plan
from mquans.plan.schema import Provenance
from mquans.runtime.session import Session
from mquans.runtime.stream import Stream

from .reference import Floats, Integers, Op, held_after, integer_weights, per_neuron, product

PROVENANCE = Provenance(mquans="0", sources=(), frames=0, created="2020-01-01T00:00:00Z")
MOVES = ("still", "one", "few", "drift", "edges", "all", "saturate", "zero")
"""What may happen to a stream from one frame to the next."""


@dataclass(frozen=True)
class Layer:
    """A reuse layer on its own: operator, shape of its input, weights as ONNX stores them."""

    op: Op
    shape: tuple[int, ...]
    weight: Floats
    bias: Floats | None

    @property
    def neurons(self) -> int:
        return self.shape[-1] if isinstance(self.op, Linear) else self.shape[1]

    @property
    def integer_shape(self) -> tuple[int, ...]:
        """Shape [O, C/g, kernel...] of the integer weights."""
        if isinstance(self.op, Linear):
            return self.weight.shape[::-1]
        if isinstance(self.op, Conv):
            return self.weight.shape
        channels, per_group, *kernel = self.weight.shape
        return (per_group * self.op.groups, channels // self.op.groups, *kernel)

    def graph(self) -> Graph:
        """x -> layer -> y."""
        constants = {"w": self.weight} | ({} if self.bias is None else {"b": self.bias})
        node = Node("layer", self.op, ("x", *constants), ("y",))
        return typed(Graph("layer", ("x",), ("y",), [node], constants), {"x": self.shape})


@dataclass(frozen=True)
class Precision:
    """The numbers that a plan gives to one layer, and the plan's own."""

    layer: LayerPlan
    rule: str = "hold"
    grid_bits: int = 12


def typed(graph: Graph, inputs: Mapping[str, tuple[int, ...]]) -> Graph:
    """The graph with the types of all its values."""
    graph.types.update({name: ValueType(shape) for name, shape in inputs.items()})
    graph.types = infer(graph)
    return graph


def plan_of(model: bytes, layers: Sequence[LayerPlan], **options: Any) -> Plan:
    """A plan for a model whose input shapes are fixed."""
    file = read_model(model)
    graph = import_model(file)
    return Plan(
        model="model.onnx",
        model_sha256=file.sha256,
        input_shapes={name: graph.shape(name) for name in graph.inputs},
        layers=tuple(layers),
        provenance=PROVENANCE,
        **options,
    )


def layer_model(layer: Layer, precision: Precision) -> tuple[bytes, Plan]:
    """A model of one layer, and its plan."""
    model = to_onnx(layer.graph()).SerializeToString()
    [node] = import_model(read_model(model)).reuse_layers()
    entry = msgspec.structs.replace(precision.layer, name=node.name)
    return model, plan_of(model, [entry], rule=precision.rule, grid_bits=precision.grid_bits)


def layer_session(layer: Layer, precision: Precision, **options: Any) -> Session:
    """A session of one layer."""
    return Session(*layer_model(layer, precision), **options)


class LayerTwin:
    """The layer in numpy: held values frame by frame, accumulators as exact products."""

    def __init__(self, layer: Layer, precision: Precision) -> None:
        self.layer, self.precision = layer, precision
        self.integers = integer_weights(
            layer.op, layer.weight, precision.layer, precision.grid_bits
        )
        self.held: Integers = np.zeros(layer.shape, np.int64)
        self.changed = np.ones(layer.shape, bool)
        self._first = True

    def step(self, x: Floats, *, keyframe: bool = False) -> Integers:
        """Takes a frame; returns the accumulators [B, O, space...] or [..., N]."""
        held = held_after(
            self.held, x, self.precision.layer, self.layer.op, rule=self.precision.rule,
            grid_bits=self.precision.grid_bits, keyframe=keyframe or self._first,
        )  # fmt: skip
        self.changed, self.held, self._first = held != self.held, held, False
        return product(self.layer.op, self.integers.values, self.held)


def logical(layer: Layer, pixels: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The engine's [rows, width, channels] as an array of the layer's axis order."""
    if isinstance(layer.op, Linear):
        return pixels.reshape(shape)
    batch, channels, *space = shape
    return np.moveaxis(pixels.reshape(batch, *space, channels), -1, 1)


def layer_states(stream: Stream) -> list[tuple[np.ndarray, np.ndarray]]:
    """(held values, accumulators) of every layer."""
    return [stream.layer_state(layer.name) for layer in stream.stats.layers]


def same_outputs(found: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]) -> None:
    """Asserts equality bit for bit."""
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].shape == array.shape, name
        assert found[name].tobytes() == array.tobytes(), f"{name} differs"


def same_states(stream: Stream, other: Stream) -> None:
    """Asserts equal held values and accumulators in all layers."""
    for mine, theirs, layer in zip(
        layer_states(stream), layer_states(other), stream.stats.layers, strict=True
    ):
        np.testing.assert_array_equal(mine[0], theirs[0], f"held values of {layer.name}")
        np.testing.assert_array_equal(mine[1], theirs[1], f"accumulators of {layer.name}")


def frames(
    shape: tuple[int, ...], moves: Sequence[str], seed: int, *, unit: Any = 1.0, span: float = 1.0,
    step: Any = 1.0,
) -> Iterator[Floats]:  # fmt: skip
    """A first frame and one more per move.

    Args:
        unit: grid unit, broadcast against `shape`; span: observed range in grid units.
        step: step in grid units, broadcast against `shape`.
    """
    rng = np.random.default_rng(seed)
    unit = np.broadcast_to(np.asarray(unit, np.float64), shape)

    def fresh() -> np.ndarray:
        return rng.uniform(-span, span, shape) * unit

    x = fresh()
    yield x.astype(np.float32)
    for move in moves:
        flat = np.zeros(shape, bool).reshape(-1)
        if move == "one":
            flat[rng.integers(flat.size)] = True
        elif move == "few":
            flat |= rng.random(flat.size) < 0.05
        elif move in ("all", "saturate"):
            flat[:] = True
        moving = flat.reshape(shape)
        x = np.where(moving, fresh() * (100.0 if move == "saturate" else 1.0), x)
        if move == "drift":
            x = x + rng.uniform(-1.2, 1.2, shape) * unit * step
        elif move == "edges":
            # Onto the borders where rounding and the dead band decide.
            half = unit * step / 2
            x = np.rint(x / half) * half
        elif move == "zero":
            x = np.where(rng.random(shape) < 0.5, 0.0, -0.0)
        yield x.astype(np.float32)


def make_layer(op: Op, shape: tuple[int, ...], outputs: int, seed: int, **kind: bool) -> Layer:
    """A layer with random weights.

    Args:
        kind: spiky (one weight outweighs all), silent (some outputs have only zeros), bias.
    """
    rng = np.random.default_rng(seed)
    if isinstance(op, Linear):
        weight_shape: tuple[int, ...] = (shape[-1], outputs)
    elif isinstance(op, Conv):
        weight_shape = (outputs, shape[1] // op.groups, *op.kernel)
    else:
        weight_shape = (shape[1], outputs // op.groups, *op.kernel)
    weight = rng.normal(size=weight_shape) * 10.0 ** rng.uniform(-3, 2)
    if kind.get("spiky"):
        weight.flat[rng.integers(weight.size)] *= 1e4
    if kind.get("silent"):
        weight[rng.random(weight.shape) < 0.5] = 0.0
        axis = 0 if isinstance(op, Conv) else 1
        np.moveaxis(weight, axis, 0)[0] = 0.0
    bias = rng.normal(size=outputs).astype(np.float32) if kind.get("bias") else None
    return Layer(op, shape, weight.astype(np.float32), bias)


def layer_frames(
    layer: Layer, precision: Precision, moves: Sequence[str], seed: int
) -> list[Floats]:
    """Frames in the units of the layer's grid."""
    plan, rank = precision.layer, len(layer.shape)
    step = 2.0 ** (precision.grid_bits - per_neuron(plan.bits, layer.op, rank))
    unit = per_neuron(plan.delta, layer.op, rank)
    span = 2.0**precision.grid_bits
    return list(frames(layer.shape, moves, seed, unit=unit, span=span, step=step))


def plain_conv(
    channels: int, outputs: int, size: Sequence[int], *, kernel: Sequence[int],
    strides: Sequence[int] | None = None, pads: Sequence[int] | None = None, groups: int = 1,
    batch: int = 1, seed: int = 0, transposed: bool = False,
) -> Layer:  # fmt: skip
    """A Conv or ConvTranspose for a test that wants one certain shape."""
    axes = len(kernel)
    strides = tuple(strides or [1] * axes)
    pads = tuple(pads or [0] * (2 * axes))
    op: Op
    if transposed:
        op = ConvTranspose(tuple(kernel), strides, pads, (1,) * axes, (0,) * axes, groups)
    else:
        op = Conv(tuple(kernel), strides, pads, (1,) * axes, groups)
    return make_layer(op, (batch, channels, *size), outputs, seed, bias=True)
