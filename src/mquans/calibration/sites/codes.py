"""Exponents and widths of codes, from ranges: fine enough, with headroom for what was not seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mquans.calibration.sites.ranges import ChannelRange, Reals
from mquans.graph import (
    Concat,
    Conv,
    ConvTranspose,
    Gather,
    Graph,
    Linear,
    Node,
    Slice,
    Unary,
    bounds_of,
    slices,
)
from mquans.plan import InputFormat
from mquans.runtime.lowering.geometry import natural_weight
from mquans.runtime.lowering.sites import Analysis, order_read
from mquans.runtime.lowering.sites.activations import bits_of, exponents_of
from mquans.runtime.lowering.sites.arithmetic import ACCUMULATOR_MAX, LARGEST_WEIGHT
from mquans.runtime.lowering.sites.geometry import pays_by_tiles

HEADROOM = 4.0
"""Times the calibrated range: a calibration seldom saw everything."""

BITS = 16
LEAST_BITS = 13
"""Of a code, where the layers that read it would else be left with narrow weights."""

NARROWING = 4.0
"""One bit less makes the squared error of codes so many times as large, and that of weights, which
share 32 bits of a sum with them, so many times as small."""

TILED_BITS = 14
"""Of a code that a convolution by tiles reads: four of them are added in 16 bits."""

FINEST = 8
"""log2 of how much finer than its tensor's coarsest channel another one is at most. A channel that
was quiet may wake up, and sums of the layer that makes it must not overflow."""

SMALLEST = 2.0**-40
"""Range of a tensor that was always 0."""

Exponents = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class CodeFormat:
    """Codes of one tensor: `x = code * 2**exponents[channel]`, of `bits` bits.

    Attributes:
        axis: of the channels.
        exponents: [channels].
    """

    axis: int
    exponents: Exponents
    bits: int = BITS

    @property
    def limit(self) -> int:
        """Largest magnitude of a code."""
        return int(2 ** (self.bits - 1)) - 1

    @property
    def rounding(self) -> Reals:
        """Mean squared error of a value, [channels]."""
        steps: Reals = np.exp2(self.exponents.astype(np.float64))
        return np.square(steps) / 12

    def narrowed(self) -> CodeFormat:
        """The same range in one bit less."""
        return replace(self, exponents=self.exponents + 1, bits=self.bits - 1)


def code_formats(
    graph: Graph,
    analysis: Analysis,
    ranges: Mapping[str, ChannelRange],
    format: InputFormat | None = None,
) -> dict[str, CodeFormat]:
    """Codes of every tensor that a plan speaks of, by name.

    Args:
        format: of pictures, whose range is then known.
    """
    producers = graph.producers()
    found: dict[str, CodeFormat] = {}
    picture = _picture(analysis, format.name) if format is not None else None
    for name, coding in analysis.fresh().items():
        node, seen = producers.get(name), ranges[name]
        if format is not None and name == picture:
            found[name] = CodeFormat(coding.axis, _of_pictures(format, len(seen.low)))
            continue
        layer = node if node is not None and node.name in analysis.integer_nodes else None
        activation = _activation(layer)
        if layer is None and (bounds := bounds_of(producers, name)) is not None:
            activation = Unary("quantize", bounds)
        exponents = _exponents(seen, activation)
        if layer is not None and bits_of(activation, BITS) == BITS:
            source = _read_by(graph, producers, found, layer)
            exponents = _for_layer(graph, layer, exponents, source.format if source else None)
        found[name] = CodeFormat(coding.axis, exponents, bits_of(activation, BITS))
    for node in graph.nodes:
        if node.name in analysis.integer_nodes and _weight(graph, node).size:
            _leave_room(graph, producers, ranges, found, node)
    return found


def _picture(analysis: Analysis, name: str) -> str:
    """The value that holds an input as it comes, maybe with its axes in another order."""
    made = analysis.pictures.get(name, name)
    return name if made in analysis.steps else made


@dataclass(frozen=True, slots=True)
class _Source:
    """What a layer reads: its codes, and the tensors of `code_formats` that they are those of."""

    format: CodeFormat
    names: tuple[str, ...]


def _read_by(
    graph: Graph, producers: Mapping[str, Node], found: Mapping[str, CodeFormat], node: Node
) -> _Source | None:
    """What an operator over sites reads first. A layer whose inputs lie along another axis than the
    channels reads codes of one exponent, made for it."""
    value = node.inputs[0]
    source = _source_of(graph, producers, found, value)
    axis = order_read(graph, node)[-1]
    if source is None or source.format.axis == axis or not _weight(graph, node).size:
        return source
    exponents = np.full(graph.shape(value)[axis], source.format.exponents.max())
    return replace(source, format=CodeFormat(axis, exponents, source.format.bits))


def _source_of(
    graph: Graph, producers: Mapping[str, Node], found: Mapping[str, CodeFormat], value: str
) -> _Source | None:
    """Follows a value in codes to the tensors that gave it its exponents, channel by channel; None
    where nothing is known of them."""
    if value in found:
        return _Source(found[value], (value,))
    node = producers.get(value)
    if node is None:
        return None
    count = len(node.inputs) if isinstance(node.op, Concat) else 1
    parts = [_source_of(graph, producers, found, part) for part in node.inputs[:count]]
    known = [part for part in parts if part is not None]
    if len(known) < count:
        return None
    axis = known[0].format.axis
    exponents = np.concatenate([part.format.exponents for part in known])
    if isinstance(node.op, Gather) and node.op.axis == axis:
        exponents = exponents[list(node.op.indices)]
    elif isinstance(node.op, Slice):
        op = node.op
        exponents = exponents[slices(op.starts, op.stops, op.steps)[axis]]
    if len(exponents) != graph.shape(value)[axis]:
        return None
    bits = max(part.format.bits for part in known)
    names = dict.fromkeys(name for part in known for name in part.names)
    return _Source(CodeFormat(axis, exponents, bits), tuple(names))


def _leave_room(
    graph: Graph,
    producers: Mapping[str, Node],
    ranges: Mapping[str, ChannelRange],
    found: dict[str, CodeFormat],
    node: Node,
) -> None:
    """Narrows what a layer reads until rounding its weights harms no more than rounding codes, and
    until tiles have the room that they need; the widest parts of a concatenation first: the largest
    code of all counts for each."""
    source = _read_by(graph, producers, found, node)
    if source is None:
        return
    most = TILED_BITS if _by_tiles(graph, node) else BITS
    sums = _weight_sums(graph, node, source.format)
    while source.format.bits > LEAST_BITS and (
        source.format.bits > most
        or sums.error(source.format.limit) > NARROWING * _code_error(ranges, found, source.names)
    ):
        for name in source.names:
            if found[name].bits == source.format.bits:
                found[name] = found[name].narrowed()
        again = _read_by(graph, producers, found, node)
        assert again is not None
        whole = (again.format.exponents == source.format.exponents + 1).all()
        sums = sums.coarser() if whole else _weight_sums(graph, node, again.format)
        source = again


def _code_error(
    ranges: Mapping[str, ChannelRange], found: Mapping[str, CodeFormat], names: tuple[str, ...]
) -> float:
    """Mean square of what rounding tensors to codes changes, over that of the tensors."""
    error = sum(float(np.exp2(2.0 * found[name].exponents).sum()) / 12 for name in names)
    return error / max(sum(float((ranges[name].rms ** 2).sum()) for name in names), SMALLEST**2)


def _activation(node: Node | None) -> Unary | None:
    """What is fused behind a layer, or behind a sum whose activation carries the name."""
    if node is None:
        return None
    return node.op if isinstance(node.op, Unary) else getattr(node.op, "activation", None)


def _of_pictures(format: InputFormat, channels: int) -> Exponents:
    """One exponent for all colours, for pixels of 0 to 255."""
    mean, std = np.asarray(format.mean), np.abs(np.asarray(format.std))
    reach = max(np.abs((pixel * format.scale - mean) / std).max() for pixel in (0.0, 255.0))
    return np.full(channels, _exponent(np.asarray(reach)), np.int64)


def _exponents(seen: ChannelRange, activation: Unary | None) -> Exponents:
    limit = 2 ** (BITS - 1) - 1
    magnitude = seen.magnitude
    if activation is not None and activation.kind == "leaky_relu" and activation.params[0] > 0:
        # The sum before it has the same exponents, and reaches further below zero.
        magnitude = np.maximum(magnitude, -seen.low / activation.params[0])
    exponents = _exponent(HEADROOM * np.maximum(magnitude, 0))
    awake = magnitude > 0
    if awake.any():
        # Of a channel that was always 0 nothing is known: it may become as large as others are.
        exponents[~awake] = int(np.median(exponents[awake]))
    exponents = np.maximum(exponents, exponents.max() - FINEST)
    return exponents_of(activation, np.asarray(exponents, np.int64), limit)


def _exponent(reach: Reals) -> Exponents:
    """The finest with which codes reach so far."""
    exact = np.log2(np.maximum(reach, SMALLEST) / (2 ** (BITS - 1) - 1))
    return np.asarray(np.clip(np.ceil(exact), -60, 60), np.int64)


def _for_layer(
    graph: Graph, node: Node, exponents: Exponents, source: CodeFormat | None
) -> Exponents:
    """Exponents that the sums of a layer can be brought to."""
    if source is None or not (weight := _weight(graph, node)).size:
        return exponents
    # The sum of integer weights of a whole bit each must fit 32 bits.
    magnitude = _magnitude(weight, source)
    bias = np.zeros(len(exponents))
    if len(node.inputs) > 2 and node.inputs[2]:
        bias = np.abs(np.asarray(graph.constants[node.inputs[2]], np.float64)).reshape(-1)
    largest = ACCUMULATOR_MAX / (16 if _by_tiles(graph, node) else 4)
    reach = np.maximum(
        (magnitude.sum(axis=1) * source.limit + bias) / largest,
        magnitude.max(axis=1, initial=0.0) / (LARGEST_WEIGHT / 2),
    )
    needed = np.ceil(np.log2(np.maximum(reach, 2.0**-60))).astype(np.int64)
    return np.asarray(np.maximum(exponents, needed))


def _weight(graph: Graph, node: Node) -> Reals:
    """Weights of a layer as [outputs, inputs of a group, taps...]; empty of others."""
    if not isinstance(node.op, Conv | ConvTranspose | Linear):
        return np.empty(0)
    weight = np.asarray(graph.constants[node.inputs[1]], np.float64)
    if isinstance(node.op, Linear):
        return weight.T
    return natural_weight(weight, node.op.groups) if isinstance(node.op, ConvTranspose) else weight


def _by_tiles(graph: Graph, node: Node) -> bool:
    weight = _weight(graph, node)
    return weight.size > 0 and pays_by_tiles(node.op, weight.shape[1], weight.shape[0])


def _is_depthwise(node: Node, weight: Reals) -> bool:
    return isinstance(node.op, Conv) and node.op.groups == len(weight) > 1 and weight.shape[1] == 1


def _magnitude(weight: Reals, source: CodeFormat) -> Reals:
    """Absolute weights per input code, [outputs, inputs of a group times taps]."""
    outputs, inputs = weight.shape[:2]
    groups = len(source.exponents) // inputs
    unit = np.exp2(source.exponents.astype(np.float64)).reshape(groups, inputs)
    each = unit[np.arange(outputs) // (outputs // groups)]
    scaled = np.abs(weight.reshape(outputs, inputs, -1)) * each[:, :, None]
    return np.asarray(scaled.reshape(outputs, -1))


@dataclass(frozen=True, slots=True)
class _WeightSums:
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

    def coarser(self) -> _WeightSums:
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


def _weight_sums(graph: Graph, node: Node, source: CodeFormat) -> _WeightSums:
    weight = _weight(graph, node)
    # Sums by tiles come out fourfold.
    largest = ACCUMULATOR_MAX / (4 if _by_tiles(graph, node) else 1)
    if _is_depthwise(node, weight):
        return _WeightSums(0, largest, *(np.empty(0),) * 3)
    magnitude = _magnitude(weight, source)
    magnitude = magnitude[magnitude.any(axis=1)]
    return _WeightSums(
        magnitude.shape[1],
        largest,
        magnitude.sum(axis=1),
        magnitude.max(axis=1, initial=0.0),
        (magnitude**2).sum(axis=1),
    )
