"""How far results hold: constants of an accelerator over their ranges, under one trace.

    mquans simulate MODEL --plan PLAN --source CLIP --save-trace trace.npz
    python -m mquans_studies.accelerators.sensitivity trace.npz --accelerator reuse -o tornado.svg

Prints speed and energy saved with each group of constants at the least and the most of its range,
with all of them at their worst at once, and a setting that gives a published pair of both. `-o`
draws the first as a tornado plot (extra `report`).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from mquans.errors import MquansError
from mquans_studies.accelerators.accelerator import Accelerator, Positive, load_accelerator
from mquans_studies.accelerators.constants import constants, varied
from mquans_studies.accelerators.model import Simulation, simulate
from mquans_studies.accelerators.plot import plot_sensitivity
from mquans_studies.accelerators.schemes import SCHEMES, Scheme, scheme
from mquans_studies.traces.trace import Trace
from mquans_studies.traces.trace_file import load_trace

DRAM, CHIP, ALL = "dram", "chip", "all"

GROUPS = {
    "DRAM energy": (DRAM, (".read_pj", ".write_pj")),
    "DRAM bandwidth": (DRAM, (".bytes_per_cycle",)),
    "weight reuse": (CHIP, (".weight_reuse",)),
    "leakage": (ALL, ("static_mw",)),
    "array efficiency": (CHIP, ("reuse_efficiency",)),
    "comparing, rate": (CHIP, ("quantize_per_cycle",)),
    "comparing, energy": (CHIP, ("energy.quantize", "energy.compare")),
    "arithmetic": (CHIP, ("energy.multiply", "energy.add")),
    "buffer sizes": (CHIP, (".bytes",)),
    "buffer energy": (CHIP, (".read_pj", ".write_pj")),
    "buffer bandwidth": (CHIP, (".bytes_per_cycle",)),
}
"""Constants that are varied together: where they belong, and the ends of their paths."""


@dataclass(frozen=True, slots=True)
class Swing:
    """Results with a group of constants at the least and the most of their ranges.

    Attributes:
        speedup, energy_saved: (at the least, at the most).
    """

    group: str
    speedup: tuple[float, float]
    energy_saved: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Pair:
    """A setting that gives a speed and a saving at once.

    Attributes:
        efficiency: multiplications per cycle over changes / those of dense layers.
        constant_mj: energy per frame that no scheme changes.
        constant_share: its part of what the dense network takes then.
        static_ms: how long the static power of the design lasts for it.
    """

    efficiency: float
    constant_mj: float
    constant_share: float
    static_ms: float


def paths_of(design: Accelerator, group: str) -> list[str]:
    """Constants of a group that a design has."""
    where, ends = GROUPS[group]
    backing = f"memories.{design.memory('backing').name}."
    return [
        constant.path
        for constant in constants(design)
        if constant.path.endswith(ends)
        and (where == ALL or constant.path.startswith(backing) == (where == DRAM))
    ]


def at_end(design: Accelerator, paths: Sequence[str], end: int) -> Accelerator:
    """The design with constants at the least (0) or the most (1) of their ranges."""
    ranges = {constant.path: constant.figure.range for constant in constants(design)}
    for path in paths:
        design = varied(design, path, ranges[path][end])
    return design


def sensitivity(
    trace: Trace, design: Accelerator, left_out: Scheme = SCHEMES["reuse"]
) -> list[Swing]:
    """Every group that a design has constants of, the one that moves energy most first."""
    swings = []
    for group in GROUPS:
        paths = paths_of(design, group)
        if not paths:
            continue
        low, high = (simulate(trace, at_end(design, paths, end), left_out) for end in (0, 1))
        swings.append(
            Swing(group, (low.speedup, high.speedup), (low.energy_saved, high.energy_saved))
        )
    return sorted(swings, key=lambda swing: -abs(swing.energy_saved[1] - swing.energy_saved[0]))


def worst(
    trace: Trace, design: Accelerator, left_out: Scheme = SCHEMES["reuse"]
) -> tuple[float, float]:
    """Speed, and energy saved, with constants at those ends of their ranges that are worst for it,
    all at once; the two are of two designs.

    Found by taking one group after the other to the end that costs most, as groups depend on each
    other: a narrow memory slows the dense network down, too.
    """
    groups = [paths for group in GROUPS if (paths := paths_of(design, group))]

    def least(of: Callable[[Simulation], float]) -> float:
        worst, found = design, of(simulate(trace, design, left_out))
        while True:
            tried = [at_end(worst, paths, end) for paths in groups for end in (0, 1)]
            results = [of(simulate(trace, one, left_out)) for one in tried]
            if min(results) >= found:
                return found
            found = min(results)
            worst = tried[results.index(found)]

    return least(lambda made: made.speedup), least(lambda made: made.energy_saved)


def setting_for(trace: Trace, design: Accelerator, speedup: float, energy_saved: float) -> Pair:
    """A setting of the model that gives a speed and a saving at once: an array that works changes
    off less regularly than inputs, and energy per frame that no scheme changes, such as the
    camera's, refresh, or static power of a processor that waits for the next frame.

    Raises:
        MquansError: reuse is not that fast, or saves less even without anything constant.
    """
    if simulate(trace, design).speedup < speedup:
        raise MquansError(
            f"reuse is not {speedup:g} times as fast as dense on this trace.", where=design.title
        )
    low, high = 1e-3, design.reuse_efficiency.value
    for _ in range(60):
        middle = (low + high) / 2
        fast = simulate(trace, _efficient(design, middle)).speedup >= speedup
        low, high = (low, middle) if fast else (middle, high)
    found = simulate(trace, _efficient(design, high))
    dense: dict[str, Any] = found.as_dict()["dense"]
    constant = (dense["energy_pj"] - found.energy_pj) / energy_saved - dense["energy_pj"]
    if constant < 0:
        raise MquansError(
            f"reuse saves less than {100 * energy_saved:g} % on this trace.", where=design.title
        )
    per_ms = dense["energy_by"]["static"] / dense["cycles"] * 1e3 * design.clock_mhz.value
    return Pair(
        efficiency=high,
        constant_mj=constant / 1e9,
        constant_share=constant / (constant + dense["energy_pj"]),
        static_ms=constant / per_ms if per_ms else float("inf"),
    )


def _efficient(design: Accelerator, value: float) -> Accelerator:
    figure = design.reuse_efficiency
    low, high = figure.range
    beyond = Positive(value, figure.source, (min(low, value), high))
    return msgspec.structs.replace(design, reuse_efficiency=beyond)


def table(base: Simulation, swings: Sequence[Swing], least: tuple[float, float]) -> str:
    """As Markdown; `least` as `worst` gives it."""
    lines = [
        f"At the values of the file: {base.speedup:.2f}x, {100 * base.energy_saved:.1f} % saved.",
        "",
        "| constants | speed, least to most | energy saved, least to most |",
        "|---|---:|---:|",
    ]
    for swing in swings:
        speeds = " to ".join(f"{speed:.2f}x" for speed in swing.speedup)
        saved = " to ".join(f"{100 * part:.1f} %" for part in swing.energy_saved)
        lines.append(f"| {swing.group} | {speeds} | {saved} |")
    lines.append(f"| all at their worst | {least[0]:.2f}x | {100 * least[1]:.1f} % |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("trace", type=Path, help="of mquans simulate --save-trace")
    parser.add_argument("--accelerator", default="reuse", help="a name or a YAML file")
    parser.add_argument("--scheme", default="reuse")
    parser.add_argument("--pair", default="2.7,0.38", help="speed and energy saved to explain")
    parser.add_argument("-o", "--output", type=Path, help="of the plot: .svg, .png or .pdf")
    asked = parser.parse_args()
    trace, design = load_trace(asked.trace), load_accelerator(asked.accelerator)
    left_out = scheme(asked.scheme)
    base = simulate(trace, design, left_out)
    swings = sensitivity(trace, design, left_out)
    print(table(base, swings, worst(trace, design, left_out)))
    speedup, saved = (float(part) for part in asked.pair.split(","))
    try:
        pair = setting_for(trace, design, speedup, saved)
        print(
            f"\n{speedup:g}x and {100 * saved:g} %: reuse_efficiency {pair.efficiency:.2g}, and "
            f"{pair.constant_mj:.3g} mJ per frame that no scheme changes, "
            f"{100 * pair.constant_share:.0f} % of what dense takes then; the design's static "
            f"power spends as much in {pair.static_ms:.3g} ms."
        )
    except MquansError as error:
        print(f"\n{speedup:g}x and {100 * saved:g} %: {error}")
    if asked.output is not None:
        plot_sensitivity(
            (base.speedup, base.energy_saved),
            [(swing.group, swing.speedup, swing.energy_saved) for swing in swings],
            asked.output,
            title=f"{trace.model} on {asked.accelerator}",
        )


if __name__ == "__main__":
    main()
