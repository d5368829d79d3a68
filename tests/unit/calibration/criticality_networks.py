"""Small networks and noise for tests of criticality."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mquans.calibration.gradients import Tape
from mquans.graph import (
    Conv,
    ConvTranspose,
    Graph,
    Linear,
    Node,
    Operator,
    Unary,
    ValueType,
    infer,
)
from mquans.metrics.agreement import AgreementMeter
from mquans.runtime.reference.interpreter import ReferenceNetwork
from mquans.sources.frames import Feeds

Floats = npt.NDArray[np.float64]
Step = tuple[str, Operator, Mapping[str, Any]]


def chain(shape: tuple[int, ...], *steps: Step) -> Graph:
    """Operators in a row over x, each with its name and constants."""
    nodes, constants, value = [], {}, "x"
    for name, op, arrays in steps:
        constants |= {f"{name}/{key}": np.array(a, np.float32) for key, a in arrays.items()}
        inputs = (value, *(f"{name}/{key}" for key in arrays))
        value = f"{name}/y"
        nodes.append(Node(name, op, inputs, (value,)))
    graph = Graph("chain", ("x",), (value,), nodes, dict(constants), {"x": ValueType(shape)})
    graph.types = infer(graph)
    return graph


def three_layers(*, output_scale: float = 1.0, input_scale: float = 1.0) -> Graph:
    """Conv `a` with ReLU, depthwise `b` with SiLU, 1x1 `c` whose outputs differ a hundredfold."""
    rng = np.random.default_rng(1)
    shape = ((3, 3), (1, 1), (1, 1, 1, 1), (1, 1))
    scales = np.array([1, 10, 1, 0.1, 1]).reshape(5, 1, 1, 1)
    first = rng.normal(0, 0.4, (8, 3, 3, 3)) / input_scale
    last = rng.normal(0, 0.4, (5, 8, 1, 1)) * scales * output_scale
    return chain(
        (1, 3, 12, 12),
        ("a", Conv(*shape, activation=Unary("relu")), {"w": first}),
        ("b", Conv(*shape, 8, Unary("silu")), {"w": rng.normal(0, 0.4, (8, 1, 3, 3))}),
        ("c", Conv((1, 1), (1, 1), (0, 0, 0, 0), (1, 1)), {"w": last}),
    )


def scenes(count: int, *, scale: float = 1.0) -> list[Feeds]:
    """Frames for `three_layers`: a fixed scene with noise."""
    rng = np.random.default_rng(2)
    scene = rng.normal(0, 1, (1, 3, 12, 12))
    moved = (scene + rng.normal(0, 0.3, scene.shape) for _ in range(count))
    return [{"x": (x * scale).astype(np.float32)} for x in moved]


def measured_loss(
    graph: Graph,
    frames: Iterable[Feeds],
    layer: str,
    sigma: Floats,
    *,
    output: bool = False,
    seed: int = 0,
) -> float:
    """Mean loss, as users see it, with noise on one layer.

    Args:
        sigma: standard deviation per neuron of the layer's input, or with `output` per channel of
            its output before the activation.
    """
    noisy, at = with_noise(graph, layer, output=output)
    [node] = [node for node in graph.nodes if node.name == layer]
    shape = noisy.shape("noise")
    axis = len(shape) - 1 if isinstance(node.op, Linear) else 1
    scale = np.sqrt(3) * sigma.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    rng = np.random.default_rng(seed)
    dense, oracle, meter = ReferenceNetwork(graph), ReferenceNetwork(noisy), AgreementMeter()
    for feeds in frames:
        # Uniform, as rounding errors are.
        error = rng.uniform(-1, 1, shape) * scale
        meter.add(dense.run(feeds), oracle.run({**feeds, at: error}))
    return meter.result().loss_mean


def with_noise(graph: Graph, layer: str, *, output: bool) -> tuple[Graph, str]:
    """A network that adds its input `noise` at one layer."""
    tape = Tape(graph)
    for node in graph.nodes:
        if node.name != layer:
            tape.copy(node)
        elif output:
            assert isinstance(node.op, Conv | ConvTranspose | Linear)
            y = tape.apply(replace(node.op, activation=None), *node.inputs, name="bare")
            moved = tape.add(y, tape.input("noise", tape.shape(y)))
            activation = node.op.activation or Unary("clip", (-np.inf, np.inf))
            tape.copy(Node("activation", activation, (moved,), node.outputs))
        else:
            x, *constants = node.inputs
            moved = tape.add(x, tape.input("noise", tape.shape(x)))
            tape.copy(replace(node, inputs=(moved, *constants)))
    return tape.graph, "noise"
