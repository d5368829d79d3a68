"""From steps to a plan's numbers: a grid unit and bits per neuron.

With `b` bits, a neuron moves in steps of `delta * 2**(GRID_BITS - b)`. Any step can be written so:
bits give its octave, the grid unit the rest. The grid below the steps is finer where a neuron's own
range is smaller, by powers of two, so that rounding to it costs every neuron alike:

    layer range   |---------------------------------|     2**12 grid units of a neuron that fills it
    neuron c        |---|                                 an eighth of the range: grid units of a
                                                          fourth, and twice the headroom

In networks with depthwise layers this cuts the error several times at equal bits. A neuron that was
quiet during calibration may wake up later, hence the headroom: on a clip in which a hand appears
after calibration, own grids without it cost FastestDet 0.08 (p95, 12 bits), with it 0.01 (decision
17)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np

from mquans.calibration.allocation.problem import Problem, Steps
from mquans.calibration.allocation.quantizers import QUANTIZERS
from mquans.calibration.curves import Sums
from mquans.calibration.observe import LayerRange, tensor_of
from mquans.graph import Graph, Linear, Node, Recurrence
from mquans.plan import LayerPlan
from mquans.runtime.lowering.quantization import deployed_weights

GRID_BITS = 12
FINEST = 2
"""log2 of how much finer than its layer's a neuron's grid units can be."""

HEADROOM = 1
"""log2 of the headroom that a neuron on a finer grid has beyond its layer's."""

LEAST_RANGE = 2.0**-80
"""A layer whose inputs were all 0 needs some grid; also keeps grid units far from denormals."""

WeightBits = Literal[8, 16]


def layer_plans(
    problem: Problem, steps: Steps, *, weight_bits: Mapping[str, WeightBits] | None = None
) -> tuple[LayerPlan, ...]:
    """The layers of a plan in which neurons move in these steps.

    Args:
        weight_bits: by layer, 16 where absent. Layers of int8 weights have one grid unit for all
            neurons, since units are folded into the weights: their steps are rounded down to
            octaves of it.
    """
    widths = weight_bits or {}
    plans = {}
    for tensor in problem.tensors:
        for layer in tensor.layers:
            width = widths.get(layer, 16)
            made = _one_grid if width == 8 else _own_grids
            delta, bits = made(tensor.range, steps[tensor.name])
            plans[layer] = LayerPlan(
                name=layer, delta=_short(delta), bits=_whole(bits), weight_bits=width
            )
    return tuple(plans[name] for name in problem.layers)


def uniform_layers(
    graph: Graph,
    ranges: Mapping[str, LayerRange],
    *,
    bits: float,
    weight_bits: Mapping[str, WeightBits] | None = None,
    quantizer: str = "uniform",
    nodes: Iterable[Node] | None = None,
) -> tuple[LayerPlan, ...]:
    """A plan's layers with `bits` for every neuron (1 to 12; between whole numbers, steps are).

    Args:
        ranges: by the name of the tensor that a layer reads.
        weight_bits: by layer, 16 where absent.
        quantizer: from a layer's range to its step, one of `QUANTIZERS`.
        nodes: the layers; by default all.
    """
    plans, widths = [], weight_bits or {}
    for node in graph.reuse_layers() if nodes is None else nodes:
        seen = ranges[tensor_of(node)]
        step = QUANTIZERS[quantizer](seen, bits) or grid_unit(seen)
        plans.append(
            stepped_layer(
                node.name,
                seen,
                np.full(len(seen.low), step),
                weight_bits=widths.get(node.name, 16),
            )
        )
    return tuple(plans)


def stored_bits(
    graph: Graph, nodes: Iterable[Node], wanted: WeightBits | None
) -> dict[str, WeightBits]:
    """Width of the weights by layer: what the user wants, else 8 where they were deployed in 8 bits
    and 16 elsewhere."""
    return {node.name: wanted or _deployed_bits(graph, node) for node in nodes}


def _deployed_bits(graph: Graph, node: Node) -> WeightBits:
    weight = graph.constants[node.inputs[1]]
    # Of layers [inputs, outputs], else [outputs, ...].
    by_output = weight.T if isinstance(node.op, Linear | Recurrence) else weight
    return 16 if deployed_weights(by_output) is None else 8


def stepped_layer(
    name: str, seen: LayerRange, steps: Sums, *, weight_bits: WeightBits = 16
) -> LayerPlan:
    """A layer whose neurons move in these steps, or in finer ones where its grid is coarser.

    Args:
        steps: [neurons], at least 0.
    """
    steps = np.maximum(steps, LEAST_RANGE / 2.0**GRID_BITS)
    delta, bits = (_one_grid if weight_bits == 8 else _own_grids)(seen, steps)
    return LayerPlan(name=name, delta=_short(delta), bits=_whole(bits), weight_bits=weight_bits)


def grid_unit(seen: LayerRange) -> float:
    """One grid unit of a neuron that fills its tensor's range."""
    if seen.layer <= 0:
        return 2.0**-GRID_BITS
    return max(seen.layer, LEAST_RANGE) / 2.0**GRID_BITS


def _own_grids(seen: LayerRange, steps: Sums) -> tuple[Sums, Sums]:
    unit = grid_unit(seen)
    # The range is at least 2**-80 of a unit range here, so an empty neuron just gets the finest.
    share = np.maximum(seen.neuron, LEAST_RANGE) / (unit * 2**GRID_BITS)
    finest = unit / 2 ** np.clip(np.floor(-np.log2(share)) - HEADROOM, 0, FINEST)
    steps = np.maximum(steps, finest)
    # Bits round down: the grid unit is then at least the finest, so nothing observed clips.
    octaves = np.floor(np.log2(steps / finest) + 1e-9)
    bits = np.clip(GRID_BITS - octaves, 1, GRID_BITS)
    return steps * 2.0 ** (bits - GRID_BITS), bits


def _one_grid(seen: LayerRange, steps: Sums) -> tuple[Sums, Sums]:
    unit = grid_unit(seen)
    bits = np.clip(np.ceil(GRID_BITS - np.log2(steps / unit) - 1e-9), 1, GRID_BITS)
    return np.full(len(steps), unit), bits


def _short(values: Sums) -> float | tuple[float, ...]:
    """One number where all neurons agree."""
    numbers = tuple(float(value) for value in values)
    return numbers[0] if len(set(numbers)) == 1 else numbers


def _whole(values: Sums) -> int | tuple[int, ...]:
    numbers = tuple(int(value) for value in values)
    return numbers[0] if len(set(numbers)) == 1 else numbers
