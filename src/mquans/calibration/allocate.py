"""Stage 2: bits and grids from ranges. Here: the same bits for every neuron of the network.

With `b` bits, the step of every neuron of a layer is the layer's range / 2**b, as in the papers.
The grid below the steps is finer where a neuron's own range is smaller, by powers of two, so that
rounding to it costs every neuron alike:

    layer range   |---------------------------------|     2**12 grid units of a neuron that fills it
    neuron c        |-------|                             k = 2: a fourth of the range, so its grid
                                                          units are a fourth, and bits = b - 2

In networks with depthwise layers this cuts the error 25 to 100 times at equal bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from mquans.calibration.observe import LayerRange
from mquans.graph import Graph
from mquans.plan import LayerPlan

GRID_BITS = 12
FINEST = 4
"""Largest k: a neuron's grid units are at least a sixteenth of its layer's."""

LEAST_RANGE = 2.0**-80
"""A layer whose inputs were all 0 needs some grid; also keeps grid units far from denormals."""


def uniform_layers(
    graph: Graph,
    ranges: Mapping[str, LayerRange],
    *,
    bits: int,
    weight_bits: Literal[8, 16] = 16,
) -> tuple[LayerPlan, ...]:
    """A plan's layers with `bits` for every neuron (1 to 12).

    Int8 weights come with one grid per layer, since per-neuron grids are folded into the weights
    and need their width.
    """
    return tuple(
        _layer(node.name, ranges[node.name], bits, weight_bits) for node in graph.reuse_layers()
    )


def _layer(name: str, seen: LayerRange, bits: int, weight_bits: Literal[8, 16]) -> LayerPlan:
    unit = max(seen.layer, LEAST_RANGE) / 2**GRID_BITS if seen.layer > 0 else 2.0**-GRID_BITS
    if weight_bits == 8:
        return LayerPlan(name=name, delta=unit, bits=bits, weight_bits=8)
    # The range is at least 2**-80 of a unit range here, so an empty neuron just gets the finest.
    share = np.maximum(seen.neuron, LEAST_RANGE) / (unit * 2**GRID_BITS)
    finer = np.clip(np.floor(-np.log2(share)), 0, min(FINEST, bits - 1)).astype(int)
    if not finer.any():
        return LayerPlan(name=name, delta=unit, bits=bits, weight_bits=16)
    return LayerPlan(
        name=name,
        delta=tuple(float(unit / 2**k) for k in finer),
        bits=tuple(int(bits - k) for k in finer),
        weight_bits=16,
    )
