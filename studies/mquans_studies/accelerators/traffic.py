"""Bytes that a layer moves at every memory of an accelerator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil, log2

import numpy as np

from mquans_studies.accelerators.accelerator import Accelerator, Lanes, Role, RowStationary
from mquans_studies.accelerators.schemes import Scheme
from mquans_studies.accelerators.work import Sums, passes, share
from mquans_studies.traces.layer_shape import LayerShape
from mquans_studies.traces.trace import Activity, LayerTrace
from mquans_studies.traces.weight_repetition import WeightRepetition

TAG_BYTES = 8
"""Of an entry in a memory of windows: a 64-bit hash."""


@dataclass(frozen=True, slots=True)
class Network:
    """What layers share on a chip.

    Attributes:
        weights: of all layers.
        inputs, outputs: values whose state reuse keeps, of all layers: those of a frame, or of a
            time step where a frame holds several.
        index_bytes: of a held value: 1 for `nearest` with at most 8 bits, else 2, since `hold`
            keeps values of the fine grid.
    """

    weights: int
    inputs: int
    outputs: int
    index_bytes: int


def network_of(layers: Sequence[LayerTrace], rule: str) -> Network:
    """The network of a trace."""
    widest = max((max(layer.widths) for layer in layers), default=0)
    return Network(
        weights=sum(layer.shape.weights for layer in layers),
        inputs=sum(layer.shape.inputs // layer.shape.steps for layer in layers),
        outputs=sum(layer.shape.outputs // layer.shape.steps for layer in layers),
        index_bytes=1 if rule == "nearest" and widest <= 8 else 2,
    )


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes per frame, [frames], by memory."""

    read: dict[str, Sums] = field(default_factory=dict)
    written: dict[str, Sums] = field(default_factory=dict)

    def add(self, name: str, *, read: Sums | float = 0.0, written: Sums | float = 0.0) -> None:
        """Adds to a memory."""
        self.read[name] = self.read.get(name, np.zeros(1)) + read
        self.written[name] = self.written.get(name, np.zeros(1)) + written


@dataclass(frozen=True, slots=True)
class _Load:
    """A layer under a scheme, as memories see it.

    Attributes:
        weight_bytes: of a weight, or of its entry in a table of repetitions.
        left: cycles left of the dense ones.
        issued: multiplications left.
        changed: inputs; touched: outputs; rows: weight rows that are needed, of 1.
    """

    shape: LayerShape
    design: Accelerator
    network: Network
    scheme: Scheme
    weight_bytes: float
    left: Sums
    issued: Sums
    changed: Sums
    touched: Sums
    rows: Sums

    @property
    def word(self) -> float:
        return self.design.word_bytes.value

    @property
    def index(self) -> int:
        return self.network.index_bytes


def layer_traffic(
    layer: LayerTrace,
    activity: Activity,
    design: Accelerator,
    network: Network,
    scheme: Scheme,
    left: Sums,
) -> Traffic:
    """Bytes at every memory.

    Args:
        left: cycles left of the dense ones, [frames].
    """
    shape, frames = layer.shape, len(activity.channels)
    ones = np.ones(frames)
    reuse = scheme.reuse
    load = _Load(
        shape=shape,
        design=design,
        network=network,
        scheme=scheme,
        weight_bytes=_weight_bytes(shape, layer.repetition, design, scheme),
        left=left,
        issued=shape.macs * (share(shape, activity, design.gate.unit) if reuse else left),
        changed=activity.changed.sum(axis=(1, 2)) * ones if reuse else shape.inputs * ones,
        touched=activity.touched * ones if reuse else shape.outputs * ones,
        rows=activity.channels / shape.channels if reuse else ones,
    )
    traffic = Traffic()
    for memory in design.memories:
        traffic.add(memory.name, read=np.zeros(frames), written=np.zeros(frames))
    _on_chip(load, traffic)
    _backing(load, traffic)
    if scheme.memory:
        _window_memory(load, activity, traffic)
    return traffic


def _weight_bytes(
    shape: LayerShape, repetition: WeightRepetition, design: Accelerator, scheme: Scheme
) -> float:
    """Bytes per weight; UCNN keeps, instead of each weight other than 0, which input it meets and
    whether its group ends there."""
    if not scheme.repetition:
        return design.word_bytes.value
    fan_in = shape.taps * shape.channels // shape.groups
    bits = ceil(log2(max(fan_in, 2))) + 1
    return bits / 8 * repetition.nonzero / max(shape.weights, 1)


def _on_chip(load: _Load, traffic: Traffic) -> None:
    shape, design, word = load.shape, load.design, load.word
    array = design.array
    weights, inputs, sums = _words(shape, array, load)
    entry = word + (load.index if load.scheme.reuse else 0)
    traffic.add(_name(design, "weights"), read=weights * load.weight_bytes)
    traffic.add(_name(design, "inputs"), read=inputs * entry)
    again = sums if load.scheme.reuse else sums - 1
    outputs = _name(design, "outputs")
    traffic.add(outputs, read=load.touched * again * word, written=load.touched * sums * word)
    if any("operands" in memory.serves for memory in design.memories):
        moved = array.operand_words.value * load.issued * word
        traffic.add(_name(design, "operands"), read=moved)
    if load.scheme.reuse:  # every input and what is held of it; what moved is written back
        traffic.add(
            _name(design, "inputs"),
            read=np.full(len(load.left), shape.inputs * (word + load.index)),
            written=load.changed * load.index,
        )


def _words(
    shape: LayerShape, array: Lanes | RowStationary, load: _Load
) -> tuple[Sums, Sums, float]:
    """(weights, inputs) that the array reads, and how often each sum is written."""
    per_group = shape.channels / shape.groups
    if isinstance(array, Lanes):
        weights = np.minimum(shape.macs / array.weight_reuse.value, load.issued)
        if array.taps.value > 1:
            words = float(shape.inputs * ceil(shape.row / array.outputs.value))
        else:
            words = passes(shape, array) * min(array.inputs.value, per_group)
        summed = array.psum_channels.value
        return weights, words * load.left, ceil(per_group / summed) if summed else 1.0
    output_rows = shape.positions / shape.output_width
    weights = shape.weights * ceil(output_rows / array.columns.value) * load.left
    inputs = shape.inputs * ceil(shape.row / array.filters.value) * load.left
    sets = max(array.rows.value // shape.kernel_rows, 1)
    return weights, inputs, ceil(per_group / (array.channels.value * sets))


def _backing(load: _Load, traffic: Traffic) -> None:
    """What does not stay on the chip. Outside a layer, weights are fetched once if they or the
    inputs fit, else whichever way moves less."""
    shape, design, word = load.shape, load.design, load.word
    weights = shape.weights * load.weight_bytes
    inputs, outputs = shape.inputs * word, shape.outputs * word
    of_weights, of_outputs = design.memory("weights"), design.memory("outputs")
    backing = _name(design, "backing")
    if of_weights.keeps:
        total = load.network.weights * word
        missing = 1 - min(of_weights.capacity / total, 1.0) if total else 0.0
        traffic.add(backing, read=weights * missing * load.rows)
        fetched = 1.0
    else:
        times, fetched = _orders(weights, inputs, design)
        brought = weights * times * load.rows
        traffic.add(backing, read=brought)
        traffic.add(of_weights.name, written=brought)
    fits = of_outputs.keeps and inputs + outputs <= of_outputs.capacity
    if not load.scheme.reuse or shape.steps > 1:
        # Sequences pass through as in the dense design; their state is that of a single step.
        if not fits:
            traffic.add(backing, read=inputs * fetched, written=outputs)
        if not of_outputs.keeps:
            traffic.add(_name(design, "inputs"), written=inputs * fetched)
    if load.scheme.reuse:
        _state(load, traffic, fetched)


def _state(load: _Load, traffic: Traffic, fetched: float) -> None:
    """Held values and sums that do not stay on the chip from frame to frame."""
    shape, design, word = load.shape, load.design, load.word
    of_outputs, backing = design.memory("outputs"), _name(design, "backing")
    away = 1.0
    if of_outputs.keeps:
        state = load.network.inputs * load.index + load.network.outputs * word
        away = 1 - min(of_outputs.capacity / max(state, 1.0), 1.0)
    if shape.steps > 1:
        held = shape.inputs / shape.steps * load.index + shape.outputs / shape.steps * word
        traffic.add(backing, read=away * held, written=away * held)
        return
    values = shape.inputs * word + (fetched - 1) * load.changed * (word + load.index)
    traffic.add(
        backing,
        read=away * (values + shape.inputs * load.index + load.touched * word),
        written=away * (load.changed * load.index + load.touched * word),
    )
    if not of_outputs.keeps:
        traffic.add(_name(design, "inputs"), written=values)


def _orders(weights: float, inputs: float, design: Accelerator) -> tuple[float, float]:
    """How often weights and inputs are fetched: a part of the weights stays while all inputs pass,
    or the other way round."""
    of_weights = ceil(weights / design.memory("weights").capacity)
    of_inputs = ceil(inputs / design.memory("inputs").capacity)
    if of_weights <= 1 or of_inputs <= 1:
        return 1.0, 1.0
    if weights + inputs * of_weights <= inputs + weights * of_inputs:
        return 1.0, float(of_weights)
    return float(of_inputs), 1.0


def _window_memory(load: _Load, activity: Activity, traffic: Traffic) -> None:
    """A tag is looked up for every position; a hit brings the outputs, a miss stores them. Whole
    inputs are not compared, in favour of the scheme."""
    shape = load.shape
    outputs = shape.outputs / shape.positions * load.word
    hits = activity.repeated.astype(np.float64)
    backing = _name(load.design, "backing")
    traffic.add(
        backing,
        read=shape.positions * TAG_BYTES + hits * outputs,
        written=(shape.positions - hits) * (TAG_BYTES + outputs),
    )


def _name(design: Accelerator, role: Role) -> str:
    return design.memory(role).name
