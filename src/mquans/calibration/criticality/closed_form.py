"""Criticality from the weights alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from mquans.calibration.criticality.loss import Floats, OutputLoss, VarianceMeter
from mquans.calibration.criticality.probe import Probe, neuron_sum, neurons_first, spread_over
from mquans.calibration.criticality.surrogate import surrogate
from mquans.calibration.gradients import gradient_graph
from mquans.errors import MquansError
from mquans.evaluate import Feeds
from mquans.evaluate.agreement import channels_first
from mquans.graph import Editor, Graph
from mquans.graph.rewrites.dead_nodes import remove_dead_nodes

FRAMES = 8
"""Frames that the outputs are weighed on."""


def closed_form(
    graph: Graph, frames: Sequence[Feeds] = (), *, threads: int = 1
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

    Returns:
        [neurons] by layer. The ranking within a layer is what to trust.

    Raises:
        MquansError: the numbers leave the range of float32.
    """
    values = tuple(gradient_graph(graph).cotangents)
    layers = list(graph.reuse_layers())
    if not frames:
        return _recursion(graph, OutputLoss.of(graph, dict.fromkeys(values)), threads)
    probe = Probe(graph, [*values, *(node.inputs[0] for node in layers)], threads=threads)
    outputs = {value: VarianceMeter() for value in values}
    inputs = {node.name: VarianceMeter() for node in layers}
    for index in spread_over(len(frames), FRAMES):
        found = probe.run(frames[index])
        for value, meter in outputs.items():
            meter.add(channels_first(found[value]))
        for node in layers:
            inputs[node.name].add(neurons_first(node, found[node.inputs[0]]))
    loss = OutputLoss.of(graph, {value: meter.scale() for value, meter in outputs.items()})
    result = _recursion(graph, loss, threads)
    reached = _reached(graph, values)
    for name, criticality in result.items():
        most = sum(loss.shares[value] for value in reached[name])
        cost = float((criticality * inputs[name].variance()).sum())
        if cost > most:
            criticality *= most / cost
    return result


def _reached(graph: Graph, values: Iterable[str]) -> dict[str, set[str]]:
    """Which of some values depend on each layer, by its name."""
    reached: dict[str, set[str]] = {value: {value} for value in values}
    layers = {}
    for node in reversed(graph.nodes):
        behind = set().union(*(reached.get(value, set()) for value in node.outputs))
        layers[node.name] = behind
        for value in node.inputs:
            reached.setdefault(value, set()).update(behind)
    return {node.name: layers[node.name] for node in graph.reuse_layers()}


def _recursion(graph: Graph, loss: OutputLoss, threads: int) -> dict[str, Floats]:
    """See `closed_form`; without bounds."""
    linear = surrogate(graph, tuple(loss.weights))
    made = gradient_graph(linear.graph)
    sums = {
        node.name: neuron_sum(made.tape, node, made.layer_inputs[linear.layers[node.name]])
        for node in graph.reuse_layers()
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
    return {
        node.name: found[sums[node.name]].astype(np.float64)
        if node.name in sums
        else np.zeros(graph.neurons(node))
        for node in graph.reuse_layers()
    }
