"""Which convolutions over time read or make what spans more than codes do.

A picture is about as bright everywhere. Sound is not: between words it is a thousandth of what it
is in them, and the rounding of codes, which is the same everywhere, is no longer small there. Where
a normalization by time step follows, quiet steps count as much as loud ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mquans.graph import Graph, Node, bounds_of, is_over_time
from mquans.runtime.lowering.sites import Analysis

if TYPE_CHECKING:
    from mquans.calibration.sites.codes import CodeFormat

STRETCH = 256
"""Values that are as loud as their mean square says: single ones cross zero."""

SILENCE = 1e-9
"""Of the loudest stretch: what is quieter holds nothing that could be lost."""

MOST_ROUNDING = 1e-5
"""Squared error of codes over the energy of a typical stretch. Layer after layer adds as much or
more, and outputs are to be within 5e-4."""


class Loudness:
    """Of one tensor, stretch by stretch."""

    def __init__(self) -> None:
        self._loudest = 0.0
        self._logs, self._count = 0.0, 0

    def add(self, rows: npt.NDArray[np.float32]) -> None:
        """One frame, [channels, sites]."""
        channels, sites = rows.shape
        length = min(sites, -(-STRETCH // channels))
        whole = rows[:, : sites // length * length]
        energy = np.square(whole, dtype=np.float64).sum(axis=0).reshape(-1, length).mean(axis=1)
        self._loudest = max(self._loudest, float(energy.max(initial=0.0)))
        heard = energy[energy > SILENCE * self._loudest]
        self._logs += float(np.log(heard).sum())
        self._count += len(heard)

    @property
    def typical(self) -> float:
        """Energy of a site, the geometric mean over stretches; 0 where all are silent."""
        return float(np.exp(self._logs / self._count)) if self._count else 0.0


def layers_over_time(graph: Graph, analysis: Analysis) -> list[Node]:
    """Convolutions over time that are computed on codes."""
    return [
        node
        for node in graph.nodes
        if node.name in analysis.integer_nodes and is_over_time(graph, node)
    ]


def beyond_codes(
    graph: Graph,
    analysis: Analysis,
    formats: Mapping[str, CodeFormat],
    loudness: Mapping[str, Loudness],
) -> tuple[str, ...]:
    """Names of the convolutions over time up to the last one that codes are too coarse for: what
    the first ones round becomes as large behind those that follow. None of most networks.

    Args:
        loudness: of the tensors that such layers read and make.
    """
    layers, producers = layers_over_time(graph, analysis), graph.producers()
    coarse = {
        name
        for name, seen in loudness.items()
        # Codes of quantized values round nothing.
        if name in formats
        and bounds_of(producers, name) is None
        and _rounding(formats[name]) > MOST_ROUNDING * seen.typical > 0
    }
    beyond = [i for i, node in enumerate(layers) if coarse & {node.inputs[0], node.outputs[0]}]
    return tuple(node.name for node in layers[: max(beyond, default=-1) + 1])


def _rounding(format: CodeFormat) -> float:
    """Mean squared error of a site."""
    return float((np.exp2(2.0 * format.exponents) / 12).sum())
