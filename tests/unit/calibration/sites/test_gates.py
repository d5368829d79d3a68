"""Scales of gates, and what a plan says of them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from mquans.calibration.sites.codes import code_formats
from mquans.calibration.sites.gates import (
    Gates,
    deviation_scales,
    gated,
    spread,
    uniform_scales,
    weighted_scales,
)
from mquans.calibration.sites.ranges import ChannelRange
from mquans.graph import Graph, Linear, Node, ValueType
from mquans.onnx import import_model, read_model
from mquans.runtime.lowering.sites import analyse


@pytest.fixture(scope="module")
def graph(small_model: Path) -> Graph:
    return import_model(read_model(small_model))


@pytest.fixture(scope="module")
def ranges(graph: Graph) -> dict[str, ChannelRange]:
    found = {}
    for name in analyse(graph).fresh():
        high = np.linspace(1, 2, graph.shape(name)[1])
        found[name] = ChannelRange(-high, high, high / 4, high / 2)
    return found


def gates_of(graph: Graph, ranges: dict[str, ChannelRange], scales: dict[str, np.ndarray]) -> Gates:
    analysis = analyse(graph)
    return Gates(graph, analysis, code_formats(graph, analysis, ranges), scales, ranges)


def test_outputs_have_no_gate(graph: Graph, ranges: dict[str, ChannelRange]) -> None:
    """Nothing lies behind them that a gate could save, so it would only lose."""
    assert gated(graph, analyse(graph)) == ["x", "b", "d"]
    gates = gates_of(graph, ranges, deviation_scales(graph, analyse(graph), ranges))
    assert [tensor.gate is None for tensor in gates.tensors()] == [False, False, False, True]


def test_scales_have_a_floor() -> None:
    """A channel that never moved would open its gate by the smallest change; so would a tensor of
    one site, which hardly varies."""
    seen = ChannelRange(np.zeros(2), np.ones(2), np.array([1.0, 0.0]), np.ones(2))
    np.testing.assert_allclose(spread(seen), [1.0, 0.025])
    still = ChannelRange(np.ones(2), np.ones(2), np.zeros(2), np.ones(2))
    np.testing.assert_allclose(spread(still), 0.01)


def test_single_channel_of_uniform_bits_opens_by_half_a_step(
    graph: Graph, ranges: dict[str, ChannelRange]
) -> None:
    """The mean over channels of its squared change is then exactly the limit of 1."""
    scales = uniform_scales(graph, analyse(graph), ranges, 6)
    for name, scale in scales.items():
        half_step = 2 * ranges[name].magnitude.max() / 2**6 / 2
        assert np.mean((np.array([half_step, *[0.0] * (len(scale) - 1)]) / scale) ** 2) == (
            pytest.approx(1)
        )
    for width in gates_of(graph, ranges, scales).widths(1.0).values():
        np.testing.assert_allclose(width, 6)


def test_widths_follow_tolerance_and_factor(graph: Graph, ranges: dict[str, ChannelRange]) -> None:
    """Half the tolerance is one bit more; so is half the factor."""
    gates = gates_of(graph, ranges, deviation_scales(graph, analyse(graph), ranges))
    base, fine = gates.widths(0.1)["second"], gates.widths(0.05)["second"]
    np.testing.assert_allclose(fine, base + 1)
    np.testing.assert_allclose(gates.widths(0.1, {"b": 0.5})["second"], fine)
    opens = gates.scales["b"] * 0.1 * math.sqrt(len(base))
    np.testing.assert_allclose(base, np.log2(ranges["b"].magnitude.max() / opens))


def test_critical_channels_have_small_scales(graph: Graph, ranges: dict[str, ChannelRange]) -> None:
    """Between gates the balance stays, for factors to decide."""
    analysis = analyse(graph)
    critical = {"second": np.array([4.0, *[1.0] * 7])}
    plain = deviation_scales(graph, analysis, ranges)
    found = weighted_scales(graph, analysis, ranges, critical)
    assert found["b"][1] / found["b"][0] == pytest.approx(2)
    assert np.mean((plain["b"] / found["b"]) ** 2) == pytest.approx(1)
    np.testing.assert_array_equal(found["d"], plain["d"])


def test_single_values_are_held_as_long_as_a_gate_would_hold_them() -> None:
    """Up to the tolerance times their standard deviation: half a step."""
    types = {"x": ValueType((1, 2)), "y": ValueType((1, 1)), "w": ValueType((2, 1))}
    node = Node("dense", Linear(None), ("x", "w"), ("y",))
    graph = Graph("dense", ("x",), ("y",), [node], {"w": np.ones((2, 1), np.float32)}, types)
    seen = ChannelRange(-np.ones(2), np.ones(2), np.array([0.5, 0.25]), np.ones(2))
    (layer,) = Gates(graph, analyse(graph), {}, {}, {}, {"x": seen}).layers(0.1)
    steps = np.asarray(layer.delta) * 2.0 ** (12 - np.asarray(layer.bits))
    np.testing.assert_allclose(steps / 2, [0.05, 0.025])
