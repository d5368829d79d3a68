"""A trace on an accelerator: cycles and energy of every layer and frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mquans.errors import MquansError
from mquans_studies.accelerators.accelerator import Accelerator, Lanes
from mquans_studies.accelerators.load import Network, Traffic, load_of, network_of
from mquans_studies.accelerators.schemes import SCHEMES, Scheme
from mquans_studies.accelerators.traffic import layer_traffic
from mquans_studies.accelerators.work import (
    Sums,
    dense_cycles,
    dense_macs,
    leaves_out_positions,
    share,
    site_share,
)
from mquans_studies.traces.trace import Activity, LayerTrace, Trace


@dataclass(frozen=True, slots=True)
class LayerCost:
    """One layer, [frames] each.

    Attributes:
        compute: cycles of the array on multiplications; overhead: on grids, compares and hashes.
        memory: cycles of the slowest memory.
        cycles: of the layer, by what overlaps.
        macs: multiplications and additions that the array issues.
        energy_pj: by event: multiply, add, quantize, compare, gate, hash, gather, control, static,
            and each memory.
        traffic: bytes at every memory.
    """

    name: str
    compute: Sums
    overhead: Sums
    memory: Sums
    cycles: Sums
    macs: Sums
    energy_pj: dict[str, Sums]
    traffic: Traffic

    @property
    def energy(self) -> Sums:
        """pJ, [frames]."""
        return np.asarray(sum(self.energy_pj.values()), np.float64)


@dataclass(frozen=True)
class Simulation:
    """A trace under a scheme, beside the dense design.

    Attributes:
        frames: that were simulated; means are over them.
        fallback: layers that are computed dense although the scheme is another.
    """

    scheme: str
    frames: int
    layers: tuple[LayerCost, ...]
    dense: tuple[LayerCost, ...]
    clock_mhz: float
    fallback: tuple[str, ...] = ()

    @property
    def cycles(self) -> float:
        """Mean per frame."""
        return _mean(self.layers, "cycles")

    @property
    def energy_pj(self) -> float:
        """Mean per frame."""
        return _mean(self.layers, "energy")

    @property
    def speedup(self) -> float:
        """Dense cycles / cycles; infinite if nothing is left to do."""
        dense = _mean(self.dense, "cycles")
        return dense / self.cycles if self.cycles else float("inf")

    @property
    def energy_saved(self) -> float:
        """1 - energy / dense energy."""
        dense = _mean(self.dense, "energy")
        return 1 - self.energy_pj / dense if dense else 0.0

    @property
    def macs_saved(self) -> float:
        """1 - multiplications that the array issues / dense ones."""
        dense = _mean(self.dense, "macs")
        return 1 - _mean(self.layers, "macs") / dense if dense else 0.0

    @property
    def time_ms(self) -> float:
        """Mean per frame."""
        return self.cycles / self.clock_mhz / 1e3

    def energy_by(self) -> dict[str, float]:
        """Mean pJ per frame by event and memory."""
        return _by_event(self.layers)

    def traffic_bytes(self) -> dict[str, dict[str, float]]:
        """Mean bytes per frame by memory."""
        total: dict[str, dict[str, float]] = {}
        for layer in self.layers:
            for way, moved in (("read", layer.traffic.read), ("written", layer.traffic.written)):
                for name, count in moved.items():
                    entry = total.setdefault(name, {"read": 0.0, "written": 0.0})
                    entry[way] += float(count.mean())
        return total

    def as_dict(self) -> dict[str, Any]:
        """The stable keys of `simulate --json` that the model gives."""
        return {
            "scheme": self.scheme,
            "frames": self.frames,
            "fallback": list(self.fallback),
            "speedup": self.speedup,
            "energy_saved": self.energy_saved,
            "cycles": self.cycles,
            "energy_pj": self.energy_pj,
            "time_ms": self.time_ms,
            "dense": {
                "cycles": _mean(self.dense, "cycles"),
                "energy_pj": _mean(self.dense, "energy"),
                "energy_by": _by_event(self.dense),
            },
            "energy_by": self.energy_by(),
            "traffic_bytes": self.traffic_bytes(),
            "per_layer": [
                {
                    "name": layer.name,
                    "cycles": float(layer.cycles.mean()),
                    "compute_cycles": float(layer.compute.mean()),
                    "overhead_cycles": float(layer.overhead.mean()),
                    "memory_cycles": float(layer.memory.mean()),
                    "macs": float(layer.macs.mean()),
                    "energy_pj": float(layer.energy.mean()),
                    "dense_cycles": float(dense.cycles.mean()),
                    "dense_energy_pj": float(dense.energy.mean()),
                }
                for layer, dense in zip(self.layers, self.dense, strict=True)
            ],
        }


def simulate(
    trace: Trace,
    design: Accelerator,
    scheme: Scheme = SCHEMES["reuse"],
    *,
    fallback: frozenset[str] = frozenset(),
) -> Simulation:
    """Runs a trace on an accelerator. First frames of recordings are left out: they are computed
    whole under every scheme.

    Args:
        fallback: layers that are computed dense (`fallback.cheaper_dense` chooses them).

    Raises:
        MquansError: no other frames, no reuse layers, or the trace lacks what the scheme needs.
    """
    if not trace.layers:
        raise MquansError("the network has no reuse layer to simulate.")
    frames = int(trace.moving.sum())
    if not frames:
        raise MquansError(
            "the trace has no frame but first ones, which are computed whole.",
            hint="Record at least two frames.",
        )
    if scheme.memory and not trace.memory:
        raise MquansError(
            "the trace does not say which inputs came again.",
            hint="Record it once more with TraceRecorder(session, memory=MEMORY).",
        )
    run = moving_layers(trace)
    return Simulation(
        scheme=scheme.name,
        frames=frames,
        layers=network_cost(run, trace.rule, design, scheme, fallback),
        dense=network_cost(run, trace.rule, design, SCHEMES[scheme.baseline], frozenset()),
        clock_mhz=design.clock_mhz.value,
        fallback=tuple(layer.shape.name for layer in trace.layers if layer.shape.name in fallback),
    )


def moving_layers(trace: Trace) -> list[LayerTrace]:
    """The layers of a trace without first frames."""
    return [replace(layer, activity=layer.activity.at(trace.moving)) for layer in trace.layers]


def network_cost(
    layers: Sequence[LayerTrace],
    rule: str,
    design: Accelerator,
    scheme: Scheme,
    fallback: frozenset[str],
) -> tuple[LayerCost, ...]:
    """All layers under a scheme, those of `fallback` dense."""
    network = network_of(layers, rule, fallback)
    return tuple(
        layer_cost(
            layer,
            layer.activity,
            design,
            network,
            _scheme_of(layer, scheme, fallback),
        )
        for layer in layers
    )


def _scheme_of(layer: LayerTrace, scheme: Scheme, fallback: frozenset[str]) -> Scheme:
    if layer.shape.name in fallback:
        return SCHEMES[scheme.baseline]
    return SCHEMES["reuse"] if scheme.sites and not layer.by_sites else scheme


def layer_cost(
    layer: LayerTrace, activity: Activity, design: Accelerator, network: Network, scheme: Scheme
) -> LayerCost:
    """One layer of a network on an accelerator."""
    shape, energy, array = layer.shape, design.energy, design.array
    padding = design.padding.value
    ones = np.ones(len(activity.channels))
    # Elements that gate single values gate zeros as well, and padding is zeros.
    whole = dense_macs(shape, padding=padding and design.gate.unit != "value")
    left, issued = ones, whole * ones
    if scheme.compares:
        left_of = site_share if scheme.sites else share
        efficient = design.reuse_efficiency.value
        left = np.minimum(left_of(shape, activity, design.skip.unit) / efficient, 1.0)
        issued = whole * left_of(shape, activity, design.gate.unit)
    if scheme.memory:
        new = 1 - activity.repeated / shape.positions
        left = new if leaves_out_positions(array, design.skip.unit) else ones
        issued = whole * (new if leaves_out_positions(array, design.gate.unit) else ones)
    multiplies, adds, gathers = issued, issued, np.zeros_like(ones)
    if scheme.repetition:
        weights = max(shape.weights, 1)
        counts = layer.repetition
        products = counts.per_input if scheme.reuse else counts.per_output
        multiplies, adds = issued * products / weights, issued * counts.nonzero / weights
        gathers = adds
        if not scheme.reuse:
            left = left * counts.nonzero / weights
    compute = dense_cycles(shape, array, padding=padding) * left
    load = load_of(layer, activity, design, network, scheme, left, issued)
    overhead = load.compared / design.quantize_per_cycle.value
    traffic = layer_traffic(load, activity)
    per_memory = [
        (traffic.read[memory.name] + traffic.written[memory.name]) / memory.bytes_per_cycle.value
        for memory in design.memories
    ]
    memory = np.max(per_memory, axis=0)
    # Results are put on grids and compared on their way out, while the array goes on.
    apart = np.maximum(np.maximum(compute, overhead), memory)
    cycles = apart if design.overlap.value else compute + overhead + memory
    tiles = array.tiles.value if isinstance(array, Lanes) else 1.0
    compared = load.compared if scheme.compares else 0 * ones
    # A gate adds up the squared differences of a site, and decides once.
    squared = load.compared if scheme.sites else 0 * ones
    decided = squared / shape.channels if scheme.sites else compared
    hashed = load.compared if scheme.memory else 0 * ones
    events = {
        "multiply": multiplies * energy.multiply.value,
        "add": adds * energy.add.value,
        "quantize": compared * energy.quantize.value,
        "compare": decided * energy.compare.value,
        "gate": squared * (energy.multiply.value + energy.add.value),
        "hash": hashed * energy.hash.value,
        "gather": gathers * energy.gather.value,
        "control": (compute + overhead) * tiles * energy.control.value,
        "static": cycles * _static_mw(design) * 1e3 / design.clock_mhz.value,
    }
    for level in design.memories:
        events[level.name] = (
            traffic.read[level.name] * level.read_pj.value
            + traffic.written[level.name] * level.write_pj.value
        )
    return LayerCost(shape.name, compute, overhead, memory, cycles, issued, events, traffic)


def _static_mw(design: Accelerator) -> float:
    return design.static_mw.value + sum(memory.static_mw.value for memory in design.memories)


def _mean(layers: tuple[LayerCost, ...], what: str) -> float:
    return float(sum(getattr(layer, what).mean() for layer in layers))


def _by_event(layers: tuple[LayerCost, ...]) -> dict[str, float]:
    total: dict[str, float] = {}
    for layer in layers:
        for event, spent in layer.energy_pj.items():
            total[event] = total.get(event, 0.0) + float(spent.mean())
    return total
