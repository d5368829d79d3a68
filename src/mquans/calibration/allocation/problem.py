"""What there is to decide: for every tensor that reuse layers read, a step per neuron."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mquans.calibration.curves import Curves, Sums
from mquans.calibration.observe import LayerRange, Observation
from mquans.graph import Conv, ConvTranspose, Graph, Linear, Node
from mquans.plan import Rule

OPTIONS_PER_OCTAVE = 4
OCTAVES = 13
"""Steps to choose from: from twice a tensor's range down to its 2**-12th."""

SHRINKAGE = 0.03
"""Share of the mean neuron's curves that is added to each neuron's: one that never moved in the
calibration frames may do so later."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One value that one or more reuse layers read; they share its steps, and one held copy.

    Attributes:
        layers: that read it.
        range: seen in calibration.
        curves: seen in calibration.
        cost: [neurons], what it costs per frame if all values of the neuron change, in MACs.
        criticality: [neurons], loss per squared unit of mean squared error.
        steps: [options] to choose from, growing, in the tensor's units.
        change, error: [neurons, options], at those steps.
    """

    name: str
    layers: tuple[str, ...]
    range: LayerRange
    curves: Curves
    cost: Sums
    criticality: Sums
    steps: Sums
    change: Sums
    error: Sums


@dataclass(frozen=True, slots=True)
class Problem:
    """All tensors of a network under one rule.

    Attributes:
        macs: of one dense frame.
        layers: names of all reuse layers, in the network's order.
    """

    rule: Rule
    tensors: tuple[Tensor, ...]
    macs: float
    layers: tuple[str, ...]


Steps = Mapping[str, Sums]
"""Step of every neuron, [neurons] in the tensor's units, by tensor."""


def problem_of(
    graph: Graph, seen: Observation, criticality: Mapping[str, Sums], rule: Rule
) -> Problem:
    """Costs, criticality and curves of a network's tensors.

    Args:
        criticality: [neurons] by layer. Of a tensor that several layers read it is their sum.
    """
    readers: dict[str, list[Node]] = {}
    for node in graph.reuse_layers():
        readers.setdefault(node.inputs[0], []).append(node)
    tensors = []
    for name, nodes in readers.items():
        reach = seen.ranges[name].layer or 1.0
        count = OCTAVES * OPTIONS_PER_OCTAVE
        steps = 2 * reach * 2.0 ** (np.arange(-count, 1) / OPTIONS_PER_OCTAVE)
        change, error = seen.curves[name].at(rule, steps)
        tensors.append(
            Tensor(
                name=name,
                layers=tuple(node.name for node in nodes),
                range=seen.ranges[name],
                curves=seen.curves[name],
                cost=np.sum([fan_out(graph, node) for node in nodes], axis=0),
                criticality=np.sum([criticality[node.name] for node in nodes], axis=0),
                steps=steps,
                change=change + SHRINKAGE * change.mean(axis=0),
                error=error + SHRINKAGE * error.mean(axis=0),
            )
        )
    macs = float(sum(tensor.cost.sum() for tensor in tensors))
    return Problem(rule, tuple(tensors), macs, tuple(node.name for node in graph.reuse_layers()))


def fan_out(graph: Graph, node: Node) -> Sums:
    """MACs per frame that all values of each neuron take part in, [neurons]. Taps on padding are
    counted, so the sum is a little more than the layer's MACs."""
    weight = graph.constants[node.inputs[1]].shape
    neurons = graph.neurons(node)
    if isinstance(node.op, Linear):
        macs = np.prod(graph.shape(node.inputs[0])) * weight[1]
    elif isinstance(node.op, ConvTranspose):
        macs = np.prod(graph.shape(node.inputs[0])) * np.prod(weight[1:])
    else:
        assert isinstance(node.op, Conv)
        macs = np.prod(graph.shape(node.outputs[0])) * np.prod(weight[1:])
    return np.full(neurons, float(macs) / neurons)
