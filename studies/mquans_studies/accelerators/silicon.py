"""The model of Eyeriss beside the chip: time, DRAM and energy of AlexNet and VGG-16.

    python -m mquans_studies.accelerators.silicon

Chen et al., IEEE JSSC 52(1), 2017, measured every convolution at 200 MHz and 1 V. Their sums are
those of the abstract: 35 and 0.7 frames per second, 278 and 236 mW, 0.0029 and 0.0035 accesses to
DRAM per multiplication, for batches of 4 and 3.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace

from mquans_studies.accelerators.accelerator import Accelerator, load_accelerator
from mquans_studies.accelerators.changes import dense_layers
from mquans_studies.accelerators.load import network_of
from mquans_studies.accelerators.model import layer_cost
from mquans_studies.accelerators.networks import alexnet, vgg16
from mquans_studies.accelerators.schemes import SCHEMES
from mquans_studies.traces.layer_shape import LayerShape

BUFFER = "global_buffer"


@dataclass(frozen=True, slots=True)
class Measured:
    """A layer or a network: ms, MB at the global buffer and at DRAM, mJ on the chip; per frame."""

    ms: float
    buffer_mb: float
    dram_mb: float
    chip_mj: float

    def __add__(self, other: Measured) -> Measured:
        return Measured(
            self.ms + other.ms,
            self.buffer_mb + other.buffer_mb,
            self.dram_mb + other.dram_mb,
            self.chip_mj + other.chip_mj,
        )


@dataclass(frozen=True, slots=True)
class Chip:
    """What was published of a network.

    Attributes:
        batch: pictures that were worked on together.
        layers: (ms, MB at the buffer, MB at DRAM, mW) of a batch.
    """

    shapes: Callable[[int], tuple[LayerShape, ...]]
    batch: int
    layers: tuple[tuple[float, float, float, float], ...]

    def measured(self) -> tuple[Measured, ...]:
        """Layer by layer, per frame."""
        return tuple(
            Measured(
                ms / self.batch, buffer / self.batch, dram / self.batch, ms * mw / 1e3 / self.batch
            )
            for ms, buffer, dram, mw in self.layers
        )


CHIPS = {
    "AlexNet": Chip(
        alexnet,
        4,
        (
            (20.9, 18.5, 5.0, 332),
            (41.9, 77.6, 4.0, 288),
            (23.6, 50.2, 3.0, 266),
            (18.4, 37.4, 2.1, 235),
            (10.5, 24.9, 1.3, 236),
        ),
    ),
    "VGG-16": Chip(
        vgg16,
        3,
        (
            (76.2, 112.6, 15.4, 247),
            (910.3, 2402.8, 54.0, 218),
            (470.3, 1201.4, 33.4, 242),
            (894.3, 2402.8, 48.5, 231),
            (241.1, 607.4, 20.2, 254),
            (460.9, 1214.8, 32.2, 235),
            (457.7, 1214.8, 30.8, 233),
            (135.8, 321.8, 17.8, 278),
            (254.8, 643.7, 28.6, 261),
            (246.3, 643.7, 22.8, 240),
            (54.3, 90.0, 6.3, 258),
            (53.7, 90.0, 5.7, 236),
            (53.7, 90.0, 5.6, 230),
        ),
    ),
}


def modelled(chip: Chip, design: Accelerator, *, as_mapped: bool = False) -> tuple[Measured, ...]:
    """The same of the model, layer by layer.

    Args:
        as_mapped: take the chip's own accesses to its buffer instead of the model's: how often sums
            pass through it is a choice of the chip's compiler.
    """
    layers = dense_layers(chip.shapes(chip.batch))
    network = network_of(layers, "hold")
    level = next(memory for memory in design.memories if memory.name == BUFFER)
    clock = design.clock_mhz.value
    static_pj = 1e3 * (
        design.static_mw.value + sum(memory.static_mw.value for memory in design.memories)
    )
    found = []
    for layer, (_, published, *_) in zip(layers, chip.layers, strict=True):
        cost = layer_cost(layer, layer.activity, design, network, SCHEMES["dense"])
        read, written = (
            float(moved[BUFFER][0]) for moved in (cost.traffic.read, cost.traffic.written)
        )
        us = float(cost.cycles[0]) / clock
        chip_pj = float(cost.energy[0] - cost.energy_pj["dram"][0])
        moved = read + written
        if as_mapped:
            slower = max(us, published * 1e6 / level.bytes_per_cycle.value / clock) - us
            chip_pj += slower * static_pj + (published * 1e6 - moved) * level.read_pj.value
            us, moved = us + slower, published * 1e6
        dram = float(cost.traffic.read["dram"][0] + cost.traffic.written["dram"][0])
        found.append(Measured(us / 1e3, moved / 1e6, dram / 1e6, chip_pj / 1e9))
    return tuple(
        replace(
            entry,
            ms=entry.ms / chip.batch,
            buffer_mb=entry.buffer_mb / chip.batch,
            dram_mb=entry.dram_mb / chip.batch,
            chip_mj=entry.chip_mj / chip.batch,
        )
        for entry in found
    )


def total(layers: tuple[Measured, ...]) -> Measured:
    """Of a network."""
    return sum(layers, Measured(0, 0, 0, 0))


def table() -> str:
    """Chip and model, network by network, as Markdown."""
    design = load_accelerator("eyeriss")
    lines = [
        "| network | | ms | buffer, MB | DRAM, MB | on chip, mJ |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for name, chip in CHIPS.items():
        rows = (
            ("chip", chip.measured()),
            ("model", modelled(chip, design)),
            ("model, the chip's accesses to its buffer", modelled(chip, design, as_mapped=True)),
        )
        for label, layers in rows:
            all_of = total(layers)
            lines.append(
                f"| {name} | {label} | {all_of.ms:.1f} | {all_of.buffer_mb:.0f} "
                f"| {all_of.dram_mb:.1f} | {all_of.chip_mj:.1f} |"
            )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.parse_args()
    print(table())


if __name__ == "__main__":
    main()
