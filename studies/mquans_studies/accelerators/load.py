"""A layer under a scheme, as memories see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil, log2

import numpy as np

from mquans_studies.accelerators.accelerator import Accelerator
from mquans_studies.accelerators.schemes import Scheme
from mquans_studies.accelerators.work import Sums
from mquans_studies.traces.computed import OUTSIDE
from mquans_studies.traces.layer_shape import LayerShape
from mquans_studies.traces.trace import Activity, LayerTrace
from mquans_studies.traces.weight_repetition import WeightRepetition


@dataclass(frozen=True, slots=True)
class Network:
    """What layers share on a chip.

    Attributes:
        weights: of all layers.
        inputs, outputs: values and sums that are kept, of all layers: those of a frame, or of a
            time step where a frame holds several. What several layers read is kept once, and
            layers by sites keep no sums.
        index_bytes: of a held value: 1 for `nearest` with at most 8 bits, else 2, since `hold`
            keeps values of the fine grid.
        comparing: layers on whose behalf inputs are compared: of those that share one, the first.
        dense: layers that are computed dense whatever the scheme; they keep no state, and all that
            they make is new to their readers.
    """

    weights: int
    inputs: int
    outputs: int
    index_bytes: int
    comparing: frozenset[str]
    dense: frozenset[str] = frozenset()


def network_of(
    layers: Sequence[LayerTrace], rule: str, dense: frozenset[str] = frozenset()
) -> Network:
    """The network of a trace, with some layers computed dense."""
    widest = max((max(layer.widths) for layer in layers), default=0)
    reusing = [layer for layer in layers if layer.shape.name not in dense]
    first = {layer.input: layer for layer in reversed(reusing)}.values()
    return Network(
        weights=sum(layer.shape.weights for layer in layers),
        inputs=sum(layer.shape.inputs // layer.shape.steps for layer in first),
        outputs=sum(
            layer.shape.outputs // layer.shape.steps for layer in reusing if not layer.by_sites
        ),
        index_bytes=1 if rule == "nearest" and widest <= 8 else 2,
        comparing=frozenset(layer.shape.name for layer in first),
        dense=dense,
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
class Load:
    """What a layer asks of memories, [frames] each where it depends on the frame.

    Attributes:
        weight_bytes: of a weight, or of its entry in a table of repetitions.
        left: cycles left of the dense ones.
        issued: multiplications left.
        changed: inputs; touched: outputs; rows: weight rows that are needed, of 1.
        compared: inputs that are compared with what is held: where their producer writes them
            back, so that those that were not made anew are never looked at.
        given: of those, what no layer makes, so that it is read to be compared.
        listed: changes that are written for readers, once for all of them.
        needed: inputs that computed outputs read.
        handed: inputs that their producer, which keeps changes only, writes out for a dense layer.
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
    compared: Sums
    given: Sums
    listed: Sums
    needed: Sums
    handed: Sums

    @property
    def word(self) -> float:
        """Bytes of a value in the design."""
        return self.design.word_bytes.value

    @property
    def index(self) -> float:
        """Bytes of a held value; by sites it is the value itself."""
        return self.word if self.scheme.sites else self.network.index_bytes

    @property
    def entry(self) -> float:
        """Bytes of an input as the array reads it: under reuse with what was held of it."""
        return self.word + (self.index if self.scheme.reuse else 0)


def load_of(
    layer: LayerTrace,
    activity: Activity,
    design: Accelerator,
    network: Network,
    scheme: Scheme,
    left: Sums,
    issued: Sums,
) -> Load:
    """A layer under a scheme.

    Args:
        left: cycles left of the dense ones, [frames]; issued: multiplications left.
    """
    shape, compares = layer.shape, scheme.compares
    ones = np.ones(len(activity.channels))
    looked_at = compared(layer, activity, network, scheme)
    changed = activity.changed.sum(axis=(1, 2)) * ones if compares else shape.inputs * ones
    rows = activity.channels / shape.channels
    if scheme.sites:
        rows = (activity.touched > 0) * ones
    return Load(
        shape=shape,
        design=design,
        network=network,
        scheme=scheme,
        weight_bytes=_weight_bytes(shape, layer.repetition, design, scheme),
        left=left,
        issued=issued,
        changed=changed,
        touched=activity.touched * ones if compares else shape.outputs * ones,
        rows=rows if compares else ones,
        compared=looked_at,
        given=np.minimum(looked_at, layer.given),
        listed=changed * (shape.name in network.comparing),
        needed=activity.needed * ones,
        handed=activity.computed * ones if _is_handed(layer, network) else 0 * ones,
    )


def _is_handed(layer: LayerTrace, network: Network) -> bool:
    """True for a dense layer behind one that keeps changes only; by sites whole tensors are
    kept."""
    makers = set(layer.producers) - {OUTSIDE}
    dense = layer.shape.name in network.dense
    return dense and not layer.by_sites and not makers <= network.dense


def compared(layer: LayerTrace, activity: Activity, network: Network, scheme: Scheme) -> Sums:
    """Inputs that are compared on a layer's behalf, [frames]; of memories of windows all that are
    hashed."""
    ones = np.ones(len(activity.channels))
    if scheme.memory:
        return layer.shape.inputs * ones
    if not scheme.compares or layer.shape.name not in network.comparing:
        return 0 * ones
    if network.dense.intersection(layer.producers):
        return layer.shape.inputs * ones
    return activity.computed * ones


def _weight_bytes(
    shape: LayerShape, repetition: WeightRepetition, design: Accelerator, scheme: Scheme
) -> float:
    """Bytes per weight. UCNN keeps, instead of each weight other than 0, which input it meets and
    whether its group ends there; CREW which of an input's products it takes, and a sign."""
    if not scheme.repetition:
        return scheme.weight_bits / 8 if scheme.weight_bits else design.word_bytes.value
    if scheme.reuse:
        products = repetition.per_input / max(shape.channels, 1)
        return min(ceil(log2(products + 1)) + 1, repetition.bits) / 8
    fan_in = shape.taps * shape.channels // shape.groups
    bits = ceil(log2(max(fan_in, 2))) + 1
    return bits / 8 * repetition.nonzero / max(shape.weights, 1)
