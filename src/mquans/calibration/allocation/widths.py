"""Which layers can afford int8 weights: half the memory to read, and coarser weights."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mquans.calibration.allocation.grids import GRID_BITS, WeightBits, grid_unit
from mquans.calibration.curves import Sums
from mquans.calibration.observe import Observation, tensor_of
from mquans.graph import ConvTranspose, Graph, Linear, Node, Recurrence
from mquans.runtime.lowering.quantization import quantize_weights

SHARE = 0.1
"""Of the budget, for the rounding of weights to int8."""


def affordable_widths(
    graph: Graph, seen: Observation, output_criticality: Mapping[str, Sums], budget: float
) -> dict[str, WeightBits]:
    """8 for as many layers as fit into their share of a budget by predicted loss, least first.

    Args:
        output_criticality: [output channels] by layer, loss per squared unit of mean squared error.
    """
    losses = {
        node.name: float(output_criticality[node.name] @ _rounding_error(graph, seen, node))
        for node in graph.reuse_layers()
    }
    widths: dict[str, WeightBits] = {}
    spent = 0.0
    for name, loss in sorted(losses.items(), key=lambda item: item[1]):
        spent += loss
        widths[name] = 8 if spent <= SHARE * budget else 16
    return widths


def _rounding_error(graph: Graph, seen: Observation, node: Node) -> Sums:
    """Mean squared error of a layer's outputs, [output channels], if its weights are int8 and
    inputs are independent."""
    tensor = tensor_of(node)
    weight = _by_output(graph, node)
    power = seen.curves[tensor].power.reshape(weight.shape[0], 1, -1, 1)
    unit = grid_unit(seen.ranges[tensor])
    outputs = weight.shape[0] * weight.shape[1]
    flat = weight.reshape(outputs, -1)
    rounded = quantize_weights(flat * unit, bits=8, grid_bits=GRID_BITS)
    error = (rounded.values * rounded.scale[:, None] / unit - flat).reshape(weight.shape)
    found: Sums = (error**2 * power).sum(axis=(2, 3)).reshape(outputs)
    return found


def _by_output(graph: Graph, node: Node) -> Sums:
    """Weights as [groups, outputs of a group, inputs of a group, taps]."""
    weight = np.asarray(graph.constants[node.inputs[1]], np.float64)
    if isinstance(node.op, Recurrence) and node.op.states == 2:
        hidden = weight.shape[0]
        both = np.zeros((2 * hidden, weight.shape[1]))
        both[:hidden, : 2 * hidden] = weight[:, : 2 * hidden]
        both[hidden:, 2 * hidden :] = weight[:, 2 * hidden :]
        weight = both
    if isinstance(node.op, Linear | Recurrence):
        return weight.T[None, :, :, None]
    groups, neurons = node.op.groups, graph.neurons(node)  # type: ignore[union-attr]
    if isinstance(node.op, ConvTranspose):
        weight = weight.reshape(groups, neurons // groups, weight.shape[1], -1)
        return np.swapaxes(weight, 1, 2)
    return weight.reshape(groups, weight.shape[0] // groups, neurons // groups, -1)
