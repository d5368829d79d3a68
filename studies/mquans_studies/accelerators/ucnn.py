"""Weight repetition where it was published: few distinct weights, against a sparse design.

UCNN (Hegde et al., ISCA 2018) reports 1.2 to 4 times less energy at equal throughput than a design
with Eyeriss' compression and gating of zeros, on LeNet, AlexNet and ResNet-50, whose weights were
trained to few values: 17 by incremental quantization (INQ), 3 by ternary quantization (TTQ). Its
gain has three sources, and all need few values: a table entry is narrower than a weight of 8 or 16
bits, filters share entries and partial sums, and a group of equal weights takes one multiplication.

    python -m mquans_studies.accelerators.ucnn
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log2

from mquans_studies.accelerators.networks import PUBLISHED_LAYERS
from mquans_studies.traces.layer_shape import LayerShape

DRAM_PJ = 160.0
"""Per byte: Horowitz ISSCC 2014, 640 pJ per 32 bits; the paper counts 20 pJ per bit as well."""
BUFFER_PJ = 5.43
"""Per byte of the shared buffer: CACTI 7, 32 nm, as io_buffer of `reuse`."""
LOCAL_PJ = 0.12
"""Per byte of an element's buffers: Accelergy 45 nm template, register file 8 bit x 128."""
MULTIPLY_PJ = {8: 0.2, 16: 0.8}
"""Horowitz ISSCC 2014, int8; four times as much assumed for int16."""
ADD_PJ = 0.1
"""Horowitz ISSCC 2014, int32."""
LANES = 8
"""Output positions that share a read of a weight or an entry: assumed."""
RUN_BITS = 5
"""Of a run of zeros: Chen JSSC 2017."""
TILE = 64
"""Input channels that a table covers, so that entries stay narrow: assumed."""


@dataclass(frozen=True, slots=True)
class Weights:
    """How a network's weights were quantized.

    Attributes:
        values: distinct ones other than 0, per layer.
        density: share of weights other than 0.
        bits: of weights and inputs in the design that is compared with.
        sharing: filters that share a table.
    """

    name: str
    values: int
    density: float
    bits: int
    sharing: int


SETTINGS = (
    Weights("INQ, 17 values, 16 bits", 16, 0.9, 16, 2),
    Weights("INQ, 17 values, 8 bits", 16, 0.9, 8, 2),
    Weights("TTQ, 3 values, 16 bits", 2, 0.5, 16, 4),
    Weights("TTQ, 3 values, 8 bits", 2, 0.5, 8, 4),
    Weights("int8 as deployed", 254, 0.98, 8, 1),
)


def saving(layers: Sequence[LayerShape], weights: Weights) -> float:
    """Energy of the sparse design / that of weight repetition, over layers of one network."""
    pairs = [(_sparse(layer, weights), _repeating(layer, weights)) for layer in layers]
    return sum(sparse for sparse, _ in pairs) / sum(repeating for _, repeating in pairs)


def _sparse(layer: LayerShape, weights: Weights) -> float:
    """pJ of a design that keeps weights as runs of zeros and values, where that is less than plain
    ones, and skips zeros."""
    word = weights.bits / 8
    done = layer.macs * weights.density
    bits = min(weights.bits, (weights.bits + RUN_BITS) * weights.density)
    arithmetic = done * (MULTIPLY_PJ[weights.bits] + ADD_PJ)
    local = done * word * LOCAL_PJ * (1 + 1 / LANES)
    return _outside(layer, layer.weights * bits / 8, word) + arithmetic + local


def _repeating(layer: LayerShape, weights: Weights) -> float:
    """pJ of UCNN: entries say which input comes next and where groups of equal weights end."""
    word = weights.bits / 8
    channels = layer.channels // layer.groups
    window = layer.taps * min(channels, TILE)
    # Filters that share a table walk the union of their weights, and each has its ends of groups.
    union = 1 - (1 - weights.density) ** weights.sharing
    entries = union / weights.sharing
    bits = ceil(log2(max(window, 2))) + weights.sharing
    groups = min(weights.values, weights.density * window) / window
    read = layer.macs * entries
    arithmetic = layer.macs * groups * (MULTIPLY_PJ[weights.bits] + ADD_PJ) + read * ADD_PJ
    # A sum of inputs that filters share is added to each of them where its group ends.
    shared = min(float(weights.values**weights.sharing), window) / window
    arithmetic += layer.macs * min(shared, 1.0) * ADD_PJ * (weights.sharing > 1)
    local = read * LOCAL_PJ * (word + bits / 8 / LANES)
    return _outside(layer, layer.weights * entries * bits / 8, word) + arithmetic + local


def _outside(layer: LayerShape, weight_bytes: float, word: float) -> float:
    """DRAM and the shared buffer: weights once, inputs and outputs once."""
    moved = weight_bytes + (layer.inputs + layer.outputs) * word
    return moved * (DRAM_PJ + BUFFER_PJ)


def table() -> str:
    """Savings by network and quantization, as Markdown."""
    lines = [
        "| weights | " + " | ".join(PUBLISHED_LAYERS) + " |",
        "|---|" + "---:|" * len(PUBLISHED_LAYERS),
    ]
    for weights in SETTINGS:
        cells = (f"{saving(layers, weights):.2f}x" for layers in PUBLISHED_LAYERS.values())
        lines.append(f"| {weights.name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    print(table())


if __name__ == "__main__":
    main()
