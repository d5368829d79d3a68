"""From scales, factors and a tolerance to the tensors and layers of a plan."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from mquans.calibration.allocation import stepped_layer
from mquans.calibration.allocation.grids import WeightBits
from mquans.calibration.observe import tensor_of
from mquans.calibration.sites.code_format import CodeFormat
from mquans.calibration.sites.ranges import ChannelRange, Reals, by_value_layers
from mquans.graph import Graph
from mquans.plan import GatePlan, LayerPlan, TensorPlan
from mquans.runtime.lowering.sites import Analysis

LEAST_SCALE = 0.05
"""Of a channel, in mean ones of its tensor: the smallest change of a quiet channel would else open
the gate."""

LEAST_SHARE = 0.01
"""The same in values of the tensor, for tensors that hardly vary: those of one site."""

Factors = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Gates:
    """All that decides on taking sites, but for the tolerance and one factor per gate.

    Attributes:
        formats: of codes, by tensor.
        scales: [channels] by tensor; none of those that no layer depends on, which have no gate.
        ranges: by tensor.
        values: what layers computed value by value read, neuron by neuron.
        weight_bits: of layers computed value by value, 16 where absent.
    """

    graph: Graph
    analysis: Analysis
    formats: Mapping[str, CodeFormat]
    scales: Mapping[str, Reals]
    ranges: Mapping[str, ChannelRange]
    values: Mapping[str, ChannelRange] = field(default_factory=dict)
    weight_bits: Mapping[str, WeightBits] = field(default_factory=dict)

    def tensors(self, factors: Factors | None = None) -> tuple[TensorPlan, ...]:
        """Entries of a plan."""
        return tuple(
            TensorPlan(
                name=name,
                axis=format.axis,
                exponents=_short(format.exponents),
                bits=format.bits,
                gate=self.gate(name, (factors or {}).get(name, 1.0)),
            )
            for name, format in self.formats.items()
        )

    def gate(self, name: str, factor: float = 1.0) -> GatePlan | None:
        """The gate in front of a tensor."""
        if name not in self.scales:
            return None
        # Six digits are plenty, and keep the file readable.
        scale = tuple(float(f"{value:.6g}") for value in self.scales[name])
        return GatePlan(scale=scale[0] if len(set(scale)) == 1 else scale, factor=factor)

    def layers(self, tolerance: float) -> tuple[LayerPlan, ...]:
        """Layers value by value: a held value may be as far off as a gate would let it be alone."""
        return tuple(
            stepped_layer(
                node.name,
                self.values[tensor_of(node)].as_layer,
                2 * tolerance * spread(self.values[tensor_of(node)]),
                weight_bits=self.weight_bits.get(node.name, 16),
            )
            for node in by_value_layers(self.graph, self.analysis)
        )

    def widths(self, tolerance: float, factors: Factors | None = None) -> dict[str, Reals]:
        """By layer over sites, the width of codes at which a change of every channel alone would
        open the gate in front of it: half a step of so many bits over twice its tensor's largest
        magnitude."""
        found = {}
        for node in self.graph.reuse_layers():
            name = node.inputs[0]
            if node.name not in self.analysis.integer_nodes or name not in self.scales:
                continue
            scale = self.scales[name]
            reach = max(float(self.ranges[name].magnitude.max()), 1e-30)
            opens = scale * tolerance * (factors or {}).get(name, 1.0) * math.sqrt(len(scale))
            # Beyond its codes nothing is finer.
            finest = reach * 2.0 ** -(self.formats[name].bits)
            found[node.name] = np.maximum(np.log2(reach / np.maximum(opens, finest)), 0)
        return found


def spread(seen: ChannelRange) -> Reals:
    """Standard deviation of every channel, with a floor."""
    least = max(
        LEAST_SCALE * float(seen.deviation.mean()), LEAST_SHARE * float(seen.rms.mean()), 1e-12
    )
    return np.maximum(seen.deviation, least)


def gated(graph: Graph, analysis: Analysis) -> list[str]:
    """Tensors that can have a gate and on which the work of some layer depends: only there it saves
    any."""
    layers = {node.name for node in graph.reuse_layers()}
    wanted: set[str] = set()
    for node in reversed(graph.nodes):
        if node.name in layers or any(value in wanted for value in node.outputs):
            wanted.update(node.inputs)
    return [name for name in analysis.fresh() if name in analysis.gated and name in wanted]


def deviation_scales(
    graph: Graph, analysis: Analysis, ranges: Mapping[str, ChannelRange]
) -> dict[str, Reals]:
    """Scales of all gates: every channel counts by its standard deviation."""
    return {name: spread(ranges[name]) for name in gated(graph, analysis)}


def weighted_scales(
    graph: Graph,
    analysis: Analysis,
    ranges: Mapping[str, ChannelRange],
    criticality: Mapping[str, Reals],
) -> dict[str, Reals]:
    """Scales by criticality: a squared change counts as much as it harms the layers that read it.
    Between gates they are as balanced as those by standard deviation, for factors to decide.

    Args:
        criticality: [neurons] by layer, loss per squared unit of its input.
    """
    found = deviation_scales(graph, analysis, ranges)
    totals: dict[str, Reals] = {}
    for node in graph.reuse_layers():
        if tensor_of(node) in found and node.name in criticality:
            total = totals.get(tensor_of(node), 0.0)
            totals[tensor_of(node)] = total + criticality[node.name]
    for name, total in totals.items():
        if total.max() > 0:
            weight = np.maximum(total, LEAST_SCALE**2 * total.mean())
            weight /= np.mean(weight * found[name] ** 2)
            found[name] = 1 / np.sqrt(weight)
    return found


def uniform_scales(
    graph: Graph, analysis: Analysis, ranges: Mapping[str, ChannelRange], bits: int
) -> dict[str, Reals]:
    """Scales of one width for the whole network, for a tolerance of 1: a single channel opens its
    gate by half a step of so many bits over twice its tensor's largest magnitude."""
    found = {}
    for name in gated(graph, analysis):
        magnitude = ranges[name].magnitude
        half = max(float(magnitude.max()), 1e-30) * 2.0**-bits
        found[name] = np.full(len(magnitude), half / math.sqrt(len(magnitude)))
    return found


def _short(values: np.ndarray[tuple[int], np.dtype[np.int64]]) -> int | tuple[int, ...]:
    numbers = tuple(int(value) for value in values)
    return numbers[0] if len(set(numbers)) == 1 else numbers
