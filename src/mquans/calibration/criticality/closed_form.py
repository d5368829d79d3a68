"""Criticality from the weights alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from mquans.calibration.criticality.loss import Floats, OutputLoss, VarianceMeter
from mquans.calibration.criticality.probe import Probe, neuron_sum, neurons_first, spread_over
from mquans.calibration.criticality.surrogate import surrogate
from mquans.calibration.gradients import gradient_graph
from mquans.calibration.unrolling import Unrolled, unroll
from mquans.errors import MquansError
from mquans.graph import Editor, Graph, Node
from mquans.graph.rewrites.dead_nodes import remove_dead_nodes
from mquans.sources.frames import Feeds

FRAMES = 8
"""Frames that the outputs are weighed on."""


def closed_form(
    graph: Graph,
    frames: Sequence[Feeds] = (),
    *,
    feedback: Mapping[str, str] | None = None,
    threads: int = 1,
) -> dict[str, Floats]:
    """Backward recursion over squared weights, with no look at what the neurons do.

    With `t[o]` the criticality of one output value of a layer, `s[c] = sum_o W[o, c]^2 t[o]`,
    summed over the neuron's positions; see `surrogate` for operators other than layers. In the
    spirit of ApproxANN (Zhang et al., DATE 2015), whose criticality is a closed form of the
    weights; here they are squared, since errors of independent sign add up in squares.

    The recursion knows no activations and lets errors grow without end in deep networks. Where
    frames are given, they bound it: an error as large as a layer's input is not taken to cost more
    than outputs replaced by noise of their own variance.

    Args:
        frames: for the variance of output channels, which the loss divides by, and of layer inputs.
            Without frames every output channel counts as of variance 1, and nothing is bounded.
        feedback: see `criticality`.

    Returns:
        [neurons] by layer. The ranking within a layer is what to trust.

    Raises:
        MquansError: the numbers leave the range of float32.
    """
    network = unroll(graph, feedback or {})
    values = tuple(gradient_graph(network.graph).cotangents)
    windows = network.windows(frames)
    if not windows:
        return _recursion(graph, network, OutputLoss.of(network, dict.fromkeys(values)), threads)
    read = [part.node.inputs[0] for parts in network.parts.values() for part in parts]
    probe = Probe(network.graph, [*values, *read], threads=threads)
    inputs = {layer: np.zeros(graph.neurons(node)) for layer, node in _layers(graph).items()}
    picked = spread_over(len(windows), FRAMES)
    found = [probe.run(windows[index]) for index in picked]
    for layer, parts in network.parts.items():
        meters: dict[int, VarianceMeter] = {}
        for arrays in found:
            for part in parts:
                meter = meters.setdefault(part.neurons.start or 0, VarianceMeter())
                meter.add(neurons_first(part.node, arrays[part.node.inputs[0]]))
        for part in parts:
            inputs[layer][part.neurons] = meters[part.neurons.start or 0].variance()
    loss = OutputLoss.measured(network, values, found)
    result = _recursion(graph, network, loss, threads)
    reached = _reached(network, values)
    for name, criticality in result.items():
        most = sum(loss.shares[value] for value in reached[name])
        cost = float((criticality * inputs[name]).sum())
        if cost > most:
            criticality *= most / cost
    return result


def _layers(graph: Graph) -> dict[str, Node]:
    return {node.name: node for node in graph.reuse_layers()}


def _reached(network: Unrolled, values: Iterable[str]) -> dict[str, set[str]]:
    """Which of some values depend on each layer, by its name."""
    reached: dict[str, set[str]] = {value: {value} for value in values}
    nodes: dict[str, set[str]] = {}
    for node in reversed(network.graph.nodes):
        behind = set().union(*(reached.get(value, set()) for value in node.outputs))
        nodes[node.name] = behind
        for value in node.inputs:
            reached.setdefault(value, set()).update(behind)
    return {
        layer: set().union(*(nodes[part.node.name] for part in parts))
        for layer, parts in network.parts.items()
    }


def _recursion(
    graph: Graph, network: Unrolled, loss: OutputLoss, threads: int
) -> dict[str, Floats]:
    """See `closed_form`; without bounds."""
    linear = surrogate(network.graph, tuple(loss.weights))
    made = gradient_graph(linear.graph)
    sums = {
        node.name: neuron_sum(made.tape, node, made.layer_inputs[linear.layers[node.name]])
        for node in network.graph.reuse_layers()
        if linear.layers[node.name] in made.layer_inputs
    }
    backward = made.tape.graph
    backward.outputs = tuple(sums.values())
    remove_dead_nodes(Editor(backward))
    # A linear network's gradients do not depend on its inputs.
    backward.inputs = tuple(made.cotangents.values())
    cotangents = {name: np.zeros(made.tape.shape(name), np.float32) for name in backward.inputs}
    for value, weight in loss.weights.items():
        # Several values of the network may be one of the surrogate.
        cotangents[made.cotangents[linear.values[value]]] += weight.astype(np.float32)
    found = Probe(backward, sums.values(), threads=threads).run(cotangents)
    if not all(np.isfinite(array).all() for array in found.values()):
        raise MquansError(
            "the squares of its weights overflow.",
            where=f"model {graph.name!r}",
            hint="Calibrate with another criticality method.",
        )
    result = {layer: np.zeros(graph.neurons(node)) for layer, node in _layers(graph).items()}
    network.add_neurons(result, {name: found[value] for name, value in sums.items()})
    return result
