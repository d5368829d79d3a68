"""Criticality from the weights alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mquans.calibration.criticality.loss import Floats, OutputLoss
from mquans.calibration.criticality.probe import Probe, neuron_sum, spread_over
from mquans.calibration.criticality.surrogate import surrogate
from mquans.calibration.gradients import gradient_graph
from mquans.errors import MquansError
from mquans.evaluate import Feeds
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
    spirit of ApproxANN (Zhang et al., DATE 2015), whose criticality is a closed form of the weights; here
    they are squared, since errors of independent sign add up in squares.

    Args:
        frames: only to know the variance of the output channels, which the loss divides by; without
            frames every channel counts as of variance 1.

    Returns:
        [neurons] by layer, right up to one common factor.

    Raises:
        MquansError: the numbers leave the range of float32.
    """
    values = tuple(gradient_graph(graph).cotangents)
    if frames:
        probe = Probe(graph, values, threads=threads)
        dense = (probe.run(frames[i]) for i in spread_over(len(frames), FRAMES))
        loss = OutputLoss.measured(graph, values, dense)
    else:
        loss = OutputLoss.unmeasured(graph, values)
    linear = surrogate(graph, values)
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
    cotangents = {
        made.cotangents[linear.values[value]]: weight.astype(np.float32)
        for value, weight in loss.weights.items()
        if linear.values[value] in made.cotangents
    }
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
