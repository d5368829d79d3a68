"""What comparing and changes cost: the objective `energy` of calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mquans.calibration.objectives import LayerEnergy
from mquans.graph import Graph
from mquans.plan import Rule
from mquans_studies.accelerators.accelerator import load_accelerator
from mquans_studies.accelerators.load import network_of
from mquans_studies.accelerators.model import layer_cost
from mquans_studies.accelerators.schemes import SCHEMES
from mquans_studies.traces.layer_shape import LayerShape, layer_geometry
from mquans_studies.traces.trace import Activity, LayerTrace
from mquans_studies.traces.weight_repetition import REPEATED_BITS, WeightRepetition

WIDEST = 12
"""Bits that held values are taken to need, before a plan says how many."""


def change_energy(graph: Graph, rule: Rule, accelerator: str) -> dict[str, LayerEnergy]:
    """Energy of every reuse layer per input: of a frame in which all inputs are compared and none
    changes, of one in which all do, and of a dense frame. `accelerator` is a name or a YAML
    file."""
    design = load_accelerator(accelerator)
    layers = [
        _changing(layer_geometry(graph, node).shape, node.inputs[0])
        for node in graph.reuse_layers()
    ]
    network = network_of(layers, rule)
    found = {}
    for layer in layers:
        inputs = layer.shape.inputs
        cost = layer_cost(layer, layer.activity, design, network, SCHEMES["reuse"])
        dense = layer_cost(layer, layer.activity, design, network, SCHEMES["dense"])
        none, every = cost.energy
        found[layer.shape.name] = LayerEnergy(
            change=float(every - none) / inputs,
            compare=float(none) / inputs,
            dense=float(dense.energy[0]) / inputs,
        )
    return found


def dense_layers(shapes: Sequence[LayerShape]) -> list[LayerTrace]:
    """Layers with one frame in which everything changes, to simulate dense designs without a
    clip."""
    every = np.array([False, True])
    return [
        replace(layer, activity=layer.activity.at(every))
        for layer in (_changing(shape, "") for shape in shapes)
    ]


def _changing(shape: LayerShape, value: str) -> LayerTrace:
    """A layer with two frames: nothing changes, everything does."""
    level = np.arange(2)
    activity = Activity(
        changed=level[:, None, None] * np.array([[shape.reached]]),
        blocks=level[:, None] * np.array([shape.blocks]),
        row_passes=level * shape.row_passes,
        channels=level * shape.channels,
        touched=level * shape.outputs,
        touched_rows=level * shape.output_rows,
        needed=level * shape.inputs,
        computed=np.full(2, shape.inputs),
        repeated=0 * level,
    )
    repetition = WeightRepetition(REPEATED_BITS, shape.weights, shape.weights, shape.weights)
    return LayerTrace(
        shape, value, (), 0, False, (WIDEST,), (shape.channels,), 16, repetition, activity
    )
