"""Which layers that hear read or make what spans more than codes do.

A picture is about as bright everywhere. Sound is not: between words it is a thousandth of what it
is in them, and the rounding of codes, which is the same everywhere, is no longer small there. Where
a normalization by time step follows, quiet steps count as much as loud ones; where a logarithm
does, every quiet value.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mquans.calibration.allocation import GRID_BITS
from mquans.graph import Graph, Node, bounds_of, is_over_time, layers_before_logarithms
from mquans.runtime.lowering.sites import Analysis

if TYPE_CHECKING:
    from mquans.calibration.sites.code_format import CodeFormat
    from mquans.calibration.sites.ranges import Ranges, Reals

    Formats = Mapping[str, CodeFormat]

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


class Magnitude:
    """Of one tensor, channel by channel."""

    def __init__(self) -> None:
        self._logs: Reals = np.zeros(0)
        self._counts: Reals = np.zeros(0)

    def add(self, rows: npt.NDArray[np.float32]) -> None:
        """One frame, [channels, sites]."""
        sizes = np.abs(rows, dtype=np.float64)
        heard = sizes > 0
        logs = np.log(sizes, out=np.zeros(sizes.shape), where=heard).sum(axis=1)
        if not len(self._counts):
            self._logs, self._counts = np.zeros(len(rows)), np.zeros(len(rows))
        self._logs += 2 * logs
        self._counts += heard.sum(axis=1)

    @property
    def typical(self) -> Reals:
        """Squares of the values other than 0, their geometric mean; 0 where there are none."""
        with np.errstate(invalid="ignore"):
            return np.where(self._counts, np.exp(self._logs / self._counts), 0.0)


def layers_over_time(graph: Graph, analysis: Analysis) -> list[Node]:
    """Convolutions over time that are computed on codes."""
    return [
        node
        for node in graph.nodes
        if node.name in analysis.integer_nodes and is_over_time(graph, node)
    ]


def beyond_codes(graph: Graph, analysis: Analysis, formats: Formats, ranges: Ranges) -> list[str]:
    """Names of the layers that codes are too coarse for, and of those before them: what the first
    ones round becomes as large behind those that follow. None of most networks."""
    names = [
        *_beyond_stretches(graph, analysis, formats, ranges.loudness),
        *_beyond_values(graph, formats, ranges),
    ]
    return [node.name for node in graph.nodes if node.name in names]


def _beyond_stretches(
    graph: Graph, analysis: Analysis, formats: Formats, loudness: Mapping[str, Loudness]
) -> list[str]:
    """Convolutions over time, of which every stretch counts as much as any other."""
    producers = graph.producers()
    coarse = {
        name
        for name, seen in loudness.items()
        # Codes of quantized values round nothing.
        if name in formats
        and bounds_of(producers, name) is None
        and formats[name].rounding.sum() > MOST_ROUNDING * seen.typical > 0
    }
    return _up_to(layers_over_time(graph, analysis), coarse)


def _beyond_values(graph: Graph, formats: Formats, ranges: Ranges) -> list[str]:
    """Layers before a logarithm, of which every value counts as much as any other."""
    producers = graph.producers()
    coarse = set()
    for name, seen in ranges.magnitudes.items():
        if name in formats:
            rounding = formats[name].rounding
        elif name in ranges.values:
            # Of a layer value by value, on the finest grid.
            rounding = np.square(2 * ranges.values[name].magnitude / 2**GRID_BITS) / 12
        else:
            continue
        heard = seen.typical > 0
        shares = rounding[heard] / seen.typical[heard]
        if bounds_of(producers, name) is None and heard.any() and shares.mean() > MOST_ROUNDING:
            coarse.add(name)
    return _up_to(layers_before_logarithms(graph), coarse)


def _up_to(layers: list[Node], coarse: Collection[str]) -> list[str]:
    beyond = [
        i for i, node in enumerate(layers) if node.inputs[0] in coarse or node.outputs[0] in coarse
    ]
    return [node.name for node in layers[: max(beyond, default=-1) + 1]]
