"""Exponents and widths of codes, from ranges: fine enough, with headroom for what was not seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mquans.calibration.sites.code_format import BITS, CodeFormat, Exponents
from mquans.calibration.sites.ranges import ChannelRange, Reals
from mquans.calibration.sites.reserve import weights_of_errors, with_reserve
from mquans.calibration.sites.weight_sums import (
    is_tiled,
    magnitude_of,
    weight_of,
    weight_sums,
)
from mquans.graph import (
    Binary,
    Concat,
    Gather,
    Graph,
    Node,
    Pad,
    Slice,
    Unary,
    bounds_of,
    slices,
)
from mquans.plan import InputFormat, pixel_scale
from mquans.runtime.lowering.sites import Analysis, order_read
from mquans.runtime.lowering.sites.activations import bits_of, exponents_of
from mquans.runtime.lowering.sites.arithmetic import (
    ACCUMULATOR_MAX,
    LARGEST_WEIGHT,
    Codes,
    factor_exponents,
    sum_exponents,
)
from mquans.runtime.lowering.sites.forms import channel_constant
from mquans.runtime.lowering.sites.pictures import Prepared

HEADROOM = 4.0
"""Times the calibrated range: a calibration seldom saw everything."""

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

LEAST_EXPONENT = -60

SMALLEST = 2.0**-40
"""Range of a tensor that was always 0."""


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
    found: dict[str, CodeFormat] = {}
    network = _Network(graph, analysis, graph.producers(), graph.consumers(), found)
    picture = _picture(analysis, format.name) if format is not None else None
    padding = _padding(graph, analysis)
    weights = weights_of_errors(graph, analysis)
    for name, coding in analysis.fresh().items():
        node, seen = network.producers.get(name), ranges[name]
        least = padding.get(name, LEAST_EXPONENT)
        if format is not None and name == picture:
            reach = _reach_of_pictures(format, analysis.prepared.get(format.name))
            exponents = np.maximum(np.full(len(seen.low), _exponent(reach)), least)
            found[name] = CodeFormat(coding.axis, exponents)
            continue
        layer = node if node is not None and node.name in analysis.integer_nodes else None
        activation = _activation(layer)
        if layer is None and (bounds := bounds_of(network.producers, name)) is not None:
            activation = Unary("quantize", bounds)
        exponents = np.maximum(_exponents(seen, activation, weights[name]), least)
        bits = bits_of(activation, BITS)
        if layer is not None and bits == BITS:
            source = _read_by(network, layer)
            exponents = _for_layer(graph, layer, exponents, source.format if source else None)
            wanted, exponents = exponents, _for_operands(network, layer, exponents)
            # Coarser codes reach as far with fewer bits, which leaves more to weights.
            bits = max(BITS - int((exponents - wanted).min()), LEAST_BITS)
        found[name] = CodeFormat(coding.axis, exponents, bits)
    for node in graph.nodes:
        if node.name in analysis.integer_nodes and weight_of(graph, node).size:
            _leave_room(network, ranges, node)
    return found


def _padding(graph: Graph, analysis: Analysis) -> dict[str, int]:
    """The finest exponents with which codes reach what is put around them later on, by tensor."""
    found: dict[str, int] = {}
    fresh = analysis.fresh()
    for node in reversed(graph.nodes):
        value = node.outputs[0]
        least = found.get(value, LEAST_EXPONENT)
        if isinstance(node.op, Pad) and node.op.value:
            least = max(least, int(_exponent(np.abs(np.float64(node.op.value)))))
        if node.name in analysis.integer_nodes and value not in fresh and least > LEAST_EXPONENT:
            for name in node.inputs:
                found[name] = max(least, found.get(name, LEAST_EXPONENT))
    return found


def _picture(analysis: Analysis, name: str) -> str:
    """The value that holds an input as it comes, maybe turned and normalised."""
    made = analysis.pictures.get(name, name)
    return name if made in analysis.steps else made


@dataclass(frozen=True, slots=True)
class _Network:
    """A network, and the codes that were found so far."""

    graph: Graph
    analysis: Analysis
    producers: Mapping[str, Node]
    consumers: Mapping[str, list[Node]]
    found: dict[str, CodeFormat]


@dataclass(frozen=True, slots=True)
class _Source:
    """What a layer reads: its codes, and the tensors of `code_formats` that they are those of."""

    format: CodeFormat
    names: tuple[str, ...]


def _read_by(network: _Network, node: Node) -> _Source | None:
    """What an operator over sites reads first. A layer whose inputs lie along another axis than the
    channels reads codes of one exponent, made for it."""
    value = node.inputs[0]
    source = _source_of(network, value)
    if source is None or not weight_of(network.graph, node).size:
        return source
    axis = order_read(network.graph, node)[-1]
    if source.format.axis == axis:
        return source
    exponents = np.full(network.graph.shape(value)[axis], source.format.exponents.max())
    return replace(source, format=CodeFormat(axis, exponents, source.format.bits))


def _source_of(network: _Network, value: str) -> _Source | None:
    """Follows a value in codes to the tensors that gave it its exponents, channel by channel; None
    where nothing is known of them."""
    if value in network.found:
        return _Source(network.found[value], (value,))
    node = network.producers.get(value)
    if node is None:
        return None
    count = len(node.inputs) if isinstance(node.op, Concat) else 1
    parts = [_source_of(network, part) for part in node.inputs[:count]]
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
    if len(exponents) != network.graph.shape(value)[axis]:
        return None
    bits = max(part.format.bits for part in known)
    if isinstance(node.op, Unary) and node.op.kind != "quantize":
        exponents = np.maximum(exponents, exponents_of(node.op, exponents, 2 ** (bits - 1) - 1))
    names = dict.fromkeys(name for part in known for name in part.names)
    return _Source(CodeFormat(axis, exponents, bits), tuple(names))


def _leave_room(network: _Network, ranges: Mapping[str, ChannelRange], node: Node) -> None:
    """Narrows what a layer reads until rounding its weights harms no more than rounding codes, and
    until tiles have the room that they need; the widest parts of a concatenation first: the largest
    code of all counts for each."""
    source = _read_by(network, node)
    if source is None:
        return
    most = TILED_BITS if is_tiled(network.graph, node) else BITS
    sums = weight_sums(network.graph, node, source.format)
    while source.format.bits > LEAST_BITS and (
        source.format.bits > most
        or sums.error(source.format.limit)
        > NARROWING * _code_error(ranges, network.found, source.names)
    ):
        for name in source.names:
            if network.found[name].bits == source.format.bits:
                network.found[name] = network.found[name].narrowed()
        again = _read_by(network, node)
        assert again is not None
        whole = (again.format.exponents == source.format.exponents + 1).all()
        sums = sums.coarser() if whole else weight_sums(network.graph, node, again.format)
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


def _reach_of_pictures(format: InputFormat, prepared: Prepared | None) -> Reals:
    """The largest value that codes hold of pixels of 0 to 255, of all colours."""
    factor, offset = (numbers.astype(np.float64) for numbers in pixel_scale(format))
    values = np.stack([offset, 255.0 * factor + offset])
    if prepared is not None and prepared.factor is not None:
        values = values * prepared.factor
    if prepared is not None and prepared.offset is not None:
        values = values + prepared.offset
    return np.asarray(np.abs(values).max())


def _exponents(seen: ChannelRange, activation: Unary | None, weights: Reals) -> Exponents:
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
    exponents = with_reserve(exponents, weights)
    return exponents_of(activation, np.asarray(exponents, np.int64), limit)


def _exponent(reach: Reals) -> Exponents:
    """The finest with which codes reach so far."""
    exact = np.log2(np.maximum(reach, SMALLEST) / (2 ** (BITS - 1) - 1))
    return np.asarray(np.clip(np.ceil(exact), LEAST_EXPONENT, 60), np.int64)


def _for_layer(
    graph: Graph, node: Node, exponents: Exponents, source: CodeFormat | None
) -> Exponents:
    """Exponents that the sums of a layer can be brought to."""
    if source is None or not (weight := weight_of(graph, node)).size:
        return exponents
    # The sum of integer weights of a whole bit each must fit 32 bits.
    magnitude = magnitude_of(weight, source)
    bias = np.zeros(len(exponents))
    if len(node.inputs) > 2 and node.inputs[2]:
        bias = np.abs(np.asarray(graph.constants[node.inputs[2]], np.float64)).reshape(-1)
    largest = ACCUMULATOR_MAX / (16 if is_tiled(graph, node) else 4)
    reach = np.maximum(
        (magnitude.sum(axis=1) * source.limit + bias) / largest,
        magnitude.max(axis=1, initial=0.0) / (LARGEST_WEIGHT / 2),
    )
    needed = np.ceil(np.log2(np.maximum(reach, 2.0**-60))).astype(np.int64)
    return np.asarray(np.maximum(exponents, needed))


def _for_operands(network: _Network, node: Node, exponents: Exponents) -> Exponents:
    """Exponents that a sum or a product, maybe behind a function, gets where its operands' codes
    are too coarse for finer ones."""
    if isinstance(node.op, Unary):
        node = network.producers.get(node.inputs[0], node)
    node = _product_within(network, node)
    if node.name not in network.analysis.integer_nodes or not isinstance(node.op, Binary):
        return exponents
    product, unit = node.op.kind in ("mul", "div"), np.zeros_like(exponents)
    coding = network.analysis.codings[node.outputs[0]]
    for value in node.inputs:
        if value in network.graph.constants:
            factor = channel_constant(network.graph, value, coding.order, len(exponents))
            if product and factor is not None:
                unit = unit + factor_exponents(1 / factor if node.op.kind == "div" else factor)
        elif source := _source_of(network, value):
            codes = Codes(source.format.exponents, source.format.limit)
            if not product:
                exponents = sum_exponents(exponents, codes)
            unit = unit + codes.exponents
        else:
            return exponents
    return np.asarray(np.maximum(exponents, unit)) if product else exponents


def _product_within(network: _Network, node: Node) -> Node:
    """The product with a constant that one step computes together with a sum."""
    if isinstance(node.op, Binary) and node.op.kind == "add":
        for value, other in (node.inputs, node.inputs[::-1]):
            inner = network.producers.get(value)
            if (
                other in network.graph.constants
                and len(network.consumers.get(value, [])) == 1
                and inner is not None
                and isinstance(inner.op, Binary)
                and inner.op.kind in ("mul", "div")
                and any(name in network.graph.constants for name in inner.inputs)
            ):
                return inner
    return node
