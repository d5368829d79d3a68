"""Dense cycles and traffic beside zigzag-dse 3.9.1, an independent simulator.

`zigzag.json` is what it gives for DianNao (`dense_check.py` makes it): for AutoPilot, for YuNet, a
detector of depthwise and pointwise layers, and for different layers of AlexNet and VGG-16.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mquans.graph import Conv, Graph, Node, ValueType
from mquans_studies.accelerators import (
    SCHEMES,
    LayerCost,
    dense_check,
    dense_layers,
    layer_cost,
    load_accelerator,
    network_of,
)
from mquans_studies.traces.layer_shape import LayerShape, layer_geometry

REFERENCE = json.loads((Path(__file__).parent / "zigzag.json").read_text())
DIANNAO = load_accelerator("diannao")
SIDES = 16


def shape_of(layer: dict[str, Any]) -> LayerShape:
    """A layer without padding: zigzag multiplies zeros of padding like all other values."""
    sizes, strides = layer["sizes"], tuple(layer["strides"])
    kernel = (sizes["FY"], sizes["FX"])
    space = tuple(
        (sizes[f"O{axis}"] - 1) * stride + size
        for axis, stride, size in zip("YX", strides, kernel, strict=True)
    )
    groups = sizes["G"]
    channels, outputs = groups * sizes["C"], groups * sizes["K"]
    types = {
        "x": ValueType((1, channels, *space)),
        "w": ValueType((outputs, sizes["C"], *kernel)),
        "y": ValueType((1, outputs, sizes["OY"], sizes["OX"])),
    }
    node = Node(layer["name"], Conv(kernel, strides, (0,) * 4, (1, 1), groups), ("x", "w"), ("y",))
    graph = Graph("net", ("x",), ("y",), [node], {}, types)
    return layer_geometry(graph, node).shape


def simulated(network: str) -> list[tuple[dict[str, Any], LayerCost]]:
    layers = dense_layers([shape_of(layer) for layer in REFERENCE[network]])
    whole = network_of(layers, "hold")
    dense = SCHEMES["dense"]
    costs = [layer_cost(layer, layer.activity, DIANNAO, whole, dense) for layer in layers]
    return list(zip(REFERENCE[network], costs, strict=True))


@pytest.mark.parametrize("network", REFERENCE)
def test_cycles_of_every_layer(network: str) -> None:
    """To the cycle: the loops are the same."""
    for theirs, ours in simulated(network):
        assert ours.compute[0] == pytest.approx(theirs["cycles"]), theirs["name"]


@pytest.mark.parametrize("network", REFERENCE)
def test_buffer_reads_of_every_layer(network: str) -> None:
    """To the byte, but for two things. Weights of lanes without work: zigzag reads zeros for them,
    our design leaves them idle. And where a position takes a single step zigzag keeps its weights
    in the multipliers, which DianNao has no registers for."""
    for theirs, ours in simulated(network):
        assert ours.traffic.read["nbin"][0] == pytest.approx(theirs["nbin_read"]), theirs["name"]
        sizes = theirs["sizes"]
        passes = {dim: -(-sizes[dim] // SIDES) for dim in "KC"}
        if passes["C"] * sizes["FX"] * sizes["FY"] > 1:
            padded = [
                passes[dim] * SIDES / sizes[dim] if sizes[dim] > SIDES else 1.0 for dim in "KC"
            ]
            weights = ours.traffic.read["sb"][0] * np.prod(padded)
            assert weights == pytest.approx(theirs["sb_read"]), theirs["name"]


@pytest.mark.parametrize("network", REFERENCE)
def test_dram_traffic(network: str) -> None:
    """Within a tenth of zigzag's least for a network. Single layers are between 0.35, pictures of
    which its bounded search finds no good order, and 1.9, where it cuts a small picture in two."""
    pairs = [
        (ours.traffic.read["dram"][0] + ours.traffic.written["dram"][0], theirs["dram"])
        for theirs, ours in simulated(network)
    ]
    ours, theirs = np.array(pairs).sum(axis=0)
    assert ours == pytest.approx(theirs, rel=0.1)
    ratios = [mine / other for mine, other in pairs]
    assert min(ratios) >= 0.35
    assert max(ratios) <= 1.9


def test_zigzag_itself() -> None:
    """Where it is installed: what is recorded is what it gives."""
    pytest.importorskip("zigzag")
    layers = REFERENCE["autopilot"][3:5]
    asked = [{key: layer[key] for key in ("name", "sizes", "strides", "pads")} for layer in layers]
    for found, recorded in zip(dense_check.zigzag(asked), layers, strict=True):
        for what in ("cycles", "sb_read", "nbin_read", "dram"):
            assert found[what] == pytest.approx(recorded[what], rel=0.1)
