"""What there is to decide: for every tensor that reuse layers read, a step per neuron."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mquans.calibration.curves import Curves, Sums
from mquans.calibration.objectives import LayerEnergy
from mquans.calibration.observe import LayerRange, Observation, tensor_of
from mquans.graph import GATES, Conv, ConvTranspose, Graph, Linear, Node, Recurrence
from mquans.plan import Rule

OPTIONS_PER_OCTAVE = 4
OCTAVES = 13
"""Steps to choose from: from twice a tensor's range down to its 2**-12th."""

CHANGED = 20.0
"""MACs that listing one changed value takes as long as, in the objective `time`: to compare,
compress and broadcast it. An estimate from the engine's own cost model (reuse_step.cpp) at about 16
MACs per cycle; it shifts precision between layers and is no forecast."""

FINISHED = 15.0
"""The same for finishing one output that a change reaches: scale, activation, the next grid."""

SHARED = 8
"""Changes that share the finishing of an output, about."""

SHRINKAGE = 0.03
"""Share of the mean neuron's curves that is added to each neuron's: one that never moved in the
calibration frames may do so later."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One value that one or more reuse layers read; they share its steps, and one held copy.

    Attributes:
        layers: that read it.
        range: seen in calibration.
        macs: [neurons], MACs per frame if all values of the neuron change.
        cost: [neurons], the same in what is to be saved: MACs, or time in MACs.
        criticality: [neurons], loss per squared unit of mean squared error.
        steps: [options] to choose from, growing, in the tensor's units.
        change, error: [neurons, options], at those steps.
    """

    name: str
    layers: tuple[str, ...]
    range: LayerRange
    macs: Sums
    cost: Sums
    criticality: Sums
    steps: Sums
    change: Sums
    error: Sums

    def at(self, steps: Sums) -> tuple[Sums, Sums]:
        """(change, error) of every neuron at steps [neurons], the nearest of the table's."""
        found = np.rint(OPTIONS_PER_OCTAVE * np.log2(steps / self.steps[0])).astype(int)
        option = np.clip(found, 0, len(self.steps) - 1)
        every = np.arange(len(option))
        return self.change[every, option], self.error[every, option]


@dataclass(frozen=True, slots=True)
class Problem:
    """All tensors of a network under one rule.

    Attributes:
        macs: of one dense frame.
        layers: names of all reuse layers, in the network's order.
        energies: under the objective `energy`, of every layer.
    """

    rule: Rule
    tensors: tuple[Tensor, ...]
    macs: float
    layers: tuple[str, ...]
    objective: str = "macs"
    energies: Mapping[str, LayerEnergy] = field(default_factory=dict)


Steps = Mapping[str, Sums]
"""Step of every neuron, [neurons] in the tensor's units, by tensor."""


def with_curves(problem: Problem, curves: Mapping[str, Curves]) -> Problem:
    """The problem with curves halfway between its own and others, such as those under a plan."""
    tensors = []
    for tensor in problem.tensors:
        change, error = _tabulated(curves[tensor.name], problem.rule, tensor.steps)
        tensors.append(
            replace(
                tensor,
                change=(tensor.change + change) / 2,
                error=(tensor.error + error) / 2,
            )
        )
    return replace(problem, tensors=tuple(tensors))


def tilted(problem: Problem, octaves: float) -> Problem:
    """The problem with errors in the first tensor counted `octaves` less than in the last one.

    Criticality adds up the errors of all layers as if they were independent. They are not: a change
    that a dead band holds back never reaches the layers behind it, which then need not hold it back
    again. It costs its error once and saves work everywhere behind, so early dead bands are worth
    more than the sum says; how much depends on the network and the clip, and is found by measuring.
    """
    depth = np.linspace(-0.5, 0.5, len(problem.tensors))
    tensors = tuple(
        replace(tensor, criticality=tensor.criticality * 2.0 ** (octaves * at))
        for tensor, at in zip(problem.tensors, depth, strict=True)
    )
    return replace(problem, tensors=tensors)


def problem_of(
    graph: Graph,
    seen: Observation,
    criticality: Mapping[str, Sums],
    rule: Rule,
    objective: str = "macs",
    energies: Mapping[str, LayerEnergy] | None = None,
) -> Problem:
    """Costs, criticality and curves of a network's tensors.

    Args:
        objective: `macs`, `time` or `energy`.
        energies: for `energy`, of every layer.
        criticality: [neurons] by layer. Of a tensor that several layers read it is their sum.
    """
    readers: dict[str, list[Node]] = {}
    for node in graph.reuse_layers():
        readers.setdefault(tensor_of(node), []).append(node)
    tensors = []
    for name, nodes in readers.items():
        reach = seen.ranges[name].layer or 1.0
        count = OCTAVES * OPTIONS_PER_OCTAVE
        steps = 2 * reach * 2.0 ** (np.arange(-count, 1) / OPTIONS_PER_OCTAVE)
        macs = np.sum([fan_out(graph, node) for node in nodes], axis=0)
        change, error = _tabulated(seen.curves[name], rule, steps)
        tensors.append(
            Tensor(
                name=name,
                layers=tuple(node.name for node in nodes),
                range=seen.ranges[name],
                macs=macs,
                cost=_cost(graph, nodes, macs, objective, energies or {}),
                criticality=np.sum([criticality[node.name] for node in nodes], axis=0),
                steps=steps,
                change=change,
                error=error,
            )
        )
    total = float(sum(tensor.macs.sum() for tensor in tensors))
    layers = tuple(node.name for node in graph.reuse_layers())
    return Problem(rule, tuple(tensors), total, layers, objective, energies or {})


def _cost(
    graph: Graph,
    readers: Sequence[Node],
    macs: Sums,
    objective: str,
    energies: Mapping[str, LayerEnergy],
) -> Sums:
    """`Tensor.cost`."""
    if objective == "macs":
        return macs
    if objective == "time":
        return macs + _overhead(graph, readers)
    value = sum(energies[node.name].change for node in readers)
    return np.full(len(macs), positions(graph, readers[0]) * value)


def _overhead(graph: Graph, readers: Sequence[Node]) -> float:
    """What changes of one neuron of a tensor take beside its multiplications, in MACs."""
    neurons = graph.neurons(readers[0])
    values = positions(graph, readers[0])
    reached = sum(fan_out(graph, node)[0] for node in readers)
    if neurons == getattr(readers[0].op, "groups", 1):
        neurons = 1  # of a depthwise layer each change reaches outputs of its own
    return float(CHANGED * values + FINISHED * reached / (SHARED if neurons > 1 else 1))


def _tabulated(curves: Curves, rule: Rule, steps: Sums) -> tuple[Sums, Sums]:
    change, error = curves.at(rule, steps, careful=True)
    return change + SHRINKAGE * change.mean(axis=0), error + SHRINKAGE * error.mean(axis=0)


def positions(graph: Graph, node: Node) -> int:
    """Values of each neuron of a reuse layer in one frame."""
    shape = graph.shape(node.inputs[0])
    if isinstance(node.op, Recurrence):
        return shape[0] * shape[1]
    return math.prod(shape) // graph.neurons(node)


def fan_out(graph: Graph, node: Node) -> Sums:
    """MACs per frame that all values of each neuron take part in, [neurons]. Taps on padding are
    counted, so the sum is a little more than the layer's MACs."""
    weight = graph.constants[node.inputs[1]].shape
    neurons = graph.neurons(node)
    if isinstance(node.op, Recurrence):
        # A gru that resets first multiplies h for two gates, and the reset h for the third.
        gates = [2, 1] if node.op.states == 2 else [GATES[node.op.kind]]
        outputs = np.repeat(gates, weight[0]) * weight[0]
        return np.asarray(positions(graph, node) * outputs, np.float64)
    if isinstance(node.op, Linear):
        macs = np.prod(graph.shape(node.inputs[0])) * weight[1]
    elif isinstance(node.op, ConvTranspose):
        macs = np.prod(graph.shape(node.inputs[0])) * np.prod(weight[1:])
    else:
        assert isinstance(node.op, Conv)
        macs = np.prod(graph.shape(node.outputs[0])) * np.prod(weight[1:])
    return np.full(neurons, float(macs) / neurons)
