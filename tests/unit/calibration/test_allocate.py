"""Uniform bits on per-neuron grids: the arithmetic that every plan stands on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mquans.calibration import GRID_BITS, LayerRange, uniform_layers
from mquans.graph import Graph
from mquans.onnx import import_model, read_model
from mquans.plan import LayerPlan
from mquans.runtime.lowering.quantization import grid_limit


@pytest.fixture
def graph(small_model: Path) -> Graph:
    return import_model(read_model(small_model))


def ranges(graph: Graph, first: list[float]) -> dict[str, LayerRange]:
    """Ranges 0 to 1 everywhere but in the first layer: [low..., high...] of its three neurons."""
    made = {}
    for node in graph.reuse_layers():
        neurons = graph.neurons(node)
        made[node.inputs[0]] = LayerRange(
            np.zeros(neurons, np.float32), np.ones(neurons, np.float32)
        )
    made["x"] = LayerRange(np.float32(first[:3]), np.float32(first[3:]))
    return made


def layer(graph: Graph, first: list[float], **options: Any) -> LayerPlan:
    return uniform_layers(graph, ranges(graph, first), **options)[0]


def test_step_is_the_layers_range_whatever_the_neurons_grid(graph: Graph) -> None:
    """Ranges 4, 1 and 0.5 in a layer of range 4 (-1 to 3): grids 1, 1/2, 1/4; steps 4/2**8."""
    found = layer(graph, [-1, 0, 0, 3, 1, 0.5], bits=8)
    assert found.bits == (8, 7, 6)
    assert isinstance(found.delta, tuple)
    assert isinstance(found.bits, tuple)
    np.testing.assert_allclose(np.array(found.delta) * 2**GRID_BITS, [4, 2, 1])
    steps = np.array(found.delta) * 2.0 ** (GRID_BITS - np.array(found.bits))
    np.testing.assert_allclose(steps, 4 / 2**8)


def test_no_observed_value_clips(graph: Graph) -> None:
    """The grid reaches 3.5 times as far as each neuron's own range."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        low = -(rng.exponential(1, 3) ** 3)
        high = rng.exponential(1, 3) ** 3
        found = layer(graph, [*low, *high], bits=int(rng.integers(1, 13)))
        reach = np.asarray(found.delta) * grid_limit(GRID_BITS)
        assert (reach >= 3.5 * np.maximum(-low, high) * (1 - 1e-6)).all()


def test_few_bits_leave_every_neuron_at_least_one(graph: Graph) -> None:
    """Bits of 0 are no plan."""
    found = layer(graph, [0, 0, 0, 1, 1e-3, 0], bits=3)
    assert found.bits == (3, 1, 1)


def test_int8_weights_get_one_grid_per_layer(graph: Graph) -> None:
    """Grids are folded into the weights, and int8 has no room for that."""
    found = layer(graph, [0, 0, 0, 1, 0.1, 0.01], bits=8, weight_bits={"first": 8})
    assert (found.bits, found.weight_bits) == (8, 8)
    assert found.delta == pytest.approx(1 / 2**GRID_BITS)


def test_layer_that_never_saw_a_value_still_gets_a_grid(graph: Graph) -> None:
    """A dead layer on the calibration clip must not make the plan invalid."""
    found = layer(graph, [0] * 6, bits=8)
    assert (np.asarray(found.delta) > 0).all()
    assert (np.asarray(found.bits) >= 1).all()


def test_equal_ranges_are_written_as_one_number(graph: Graph) -> None:
    """Plans stay readable."""
    found = layer(graph, [0, 0, 0, 1, 1, 1], bits=8)
    assert (found.bits, found.delta) == (8, 1 / 2**GRID_BITS)
