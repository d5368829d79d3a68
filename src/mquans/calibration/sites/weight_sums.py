"""What the weights of a layer may add up to, per code of what it reads."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mquans.calibration.sites.code_format import CodeFormat
from mquans.calibration.sites.ranges import Reals
from mquans.graph import Conv, ConvTranspose, Graph, Linear, Node
from mquans.runtime.lowering.geometry import natural_weight
from mquans.runtime.lowering.sites.arithmetic import ACCUMULATOR_MAX, LARGEST_WEIGHT
from mquans.runtime.lowering.sites.geometry import pays_by_tiles


def weight_of(graph: Graph, node: Node) -> Reals:
    """Weights of a layer as [outputs, inputs of a group, taps...]; empty of others."""
    if not isinstance(node.op, Conv | ConvTranspose | Linear):
        return np.empty(0)
    weight = np.asarray(graph.constants[node.inputs[1]], np.float64)
    if isinstance(node.op, Linear):
        return weight.T
    return natural_weight(weight, node.op.groups) if isinstance(node.op, ConvTranspose) else weight


def is_tiled(graph: Graph, node: Node) -> bool:
    """Whether a layer is computed by tiles of sites."""
    weight = weight_of(graph, node)
    return weight.size > 0 and pays_by_tiles(node.op, weight.shape[1], weight.shape[0])


def _is_depthwise(node: Node, weight: Reals) -> bool:
    return isinstance(node.op, Conv) and node.op.groups == len(weight) > 1 and weight.shape[1] == 1


def magnitude_of(weight: Reals, source: CodeFormat) -> Reals:
    """Absolute weights per input code, [outputs, inputs of a group times taps]."""
    outputs, inputs = weight.shape[:2]
    groups = len(source.exponents) // inputs
    unit = np.exp2(source.exponents.astype(np.float64)).reshape(groups, inputs)
    each = unit[np.arange(outputs) // (outputs // groups)]
    scaled = np.abs(weight.reshape(outputs, inputs, -1)) * each[:, :, None]
    return np.asarray(scaled.reshape(outputs, -1))


@dataclass(frozen=True, slots=True)
class WeightSums:
    """Of the weights of every output channel that has any, per input code: [outputs] each.

    Attributes:
        inputs: weights of an output.
        largest: sum that an output may reach.
    """

    inputs: int
    largest: float
    total: Reals
    peak: Reals
    square: Reals

    def coarser(self) -> WeightSums:
        """With codes that stand for twice as much."""
        return replace(self, total=2 * self.total, peak=2 * self.peak, square=4 * self.square)

    def error(self, limit: int) -> float:
        """Mean square of what rounding weights changes, over that of the weights; of most outputs.

        Args:
            limit: largest code.
        """
        if not self.peak.size:
            return 0.0
        unit = np.maximum(self.total * limit / self.largest, self.peak / LARGEST_WEIGHT)
        unit = np.exp2(np.ceil(np.log2(unit)))
        return float(np.median(self.inputs * unit**2 / 12 / self.square))


def weight_sums(graph: Graph, node: Node, source: CodeFormat) -> WeightSums:
    """Of a layer that reads such codes."""
    weight = weight_of(graph, node)
    # Sums by tiles come out fourfold.
    largest = ACCUMULATOR_MAX / (4 if is_tiled(graph, node) else 1)
    if _is_depthwise(node, weight):
        return WeightSums(0, largest, *(np.empty(0),) * 3)
    magnitude = magnitude_of(weight, source)
    magnitude = magnitude[magnitude.any(axis=1)]
    return WeightSums(
        magnitude.shape[1],
        largest,
        magnitude.sum(axis=1),
        magnitude.max(axis=1, initial=0.0),
        (magnitude**2).sum(axis=1),
    )
