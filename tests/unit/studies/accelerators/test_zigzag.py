"""Dense cycles and traffic beside zigzag-dse 3.9.1, an independent simulator.

`zigzag.json` is what it gives for DianNao (`dense_check.py` makes it): for AutoPilot,
and for YuNet, a detector of depthwise and pointwise layers.
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


@pytest.mark.parametrize(("network", "least"), [("autopilot", 0.9), ("yunet", 0.65)])
def test_dram_traffic(network: str, least: float) -> None:
    """Ours over zigzag's least, at most 1.1 for a network and 1.25 for a layer: zigzag chooses
    among all orders of loops, we among two. At least 0.9 where weights dominate, 0.65 for pictures,
    0.5 for a layer: what windows share is fetched again from one part of a picture to the next if
    it does not fit into 2 KB, and our estimate leaves that out."""
    pairs = [
        (ours.traffic.read["dram"][0] + ours.traffic.written["dram"][0], theirs["dram"])
        for theirs, ours in simulated(network)
    ]
    ours, theirs = np.array(pairs).sum(axis=0)
    assert least <= ours / theirs <= 1.1
    ratios = [mine / other for mine, other in pairs]
    assert min(ratios) >= 0.5
    assert max(ratios) <= 1.25
