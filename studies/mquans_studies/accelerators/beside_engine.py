"""The engine beside the model's `cpu2`, layer by layer.

    python -m mquans_studies.accelerators.beside_engine MODEL --plan PLAN --source CLIP

The engine's own times of every layer, of keyframes (everything computed) and of frames under the
plan's gates, beside cycles of the schemes `dense` and `sites` on the same frames. Compared are
shares of the network's time, and how much of a layer's time gates leave: ratios that a machine's
clock does not move. Every frame is run several times, the least counts. Joules stand beside the
model's where the machine has counters (RAPL).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mquans import Session
from mquans.errors import MquansError
from mquans.evaluate import frame_energy
from mquans.evaluate.energy import RAPL, packages
from mquans.onnx import ModelFile, read_model
from mquans.runtime.stream import Frame
from mquans.sources import open_planned
from mquans_studies.accelerators.accelerator import Accelerator, load_accelerator
from mquans_studies.accelerators.model import LayerCost, Simulation, simulate
from mquans_studies.accelerators.schemes import SCHEMES
from mquans_studies.traces.trace import TraceRecorder

Times = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Beside:
    """One layer: mean ms per frame of the engine, mean cycles of the model, dense and gated."""

    name: str
    ms_dense: float
    ms: float
    cycles_dense: float
    cycles: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """All layers.

    Attributes:
        other_share, other_share_dense: of the engine's time in steps that are no layers of the
            model: sums, activations of their own, pools, moves, pictures.
    """

    layers: tuple[Beside, ...]
    simulation: Simulation
    other_share_dense: float
    other_share: float

    @property
    def left(self) -> tuple[float, float]:
        """What gates leave of the time of all layers: of the engine, of the model."""
        ms, ms_dense, cycles, cycles_dense = (
            sum(getattr(layer, what) for layer in self.layers)
            for what in ("ms", "ms_dense", "cycles", "cycles_dense")
        )
        return ms / ms_dense, cycles / cycles_dense


def beside_engine(
    session: Session, frames: Sequence[Frame], design: Accelerator, *, repeats: int = 3
) -> Comparison:
    """Runs frames with gates and as keyframes, and puts the former's trace on a design.

    Args:
        session: under a plan with gates.
        repeats: runs of the clip, of which each frame's least time of each layer counts.

    Raises:
        MquansError: the plan has no gates, or there are fewer than two frames.
    """
    if not session.plan.tensors:
        raise MquansError(
            "the plan has no gates for sites.",
            hint="Make one: mquans calibrate MODEL --source CLIP.",
        )
    if len(frames) < 2:
        raise MquansError("the clip has one frame, which is computed whole.")
    recorder = TraceRecorder(session)
    with session.stream() as stream:
        for frame in frames:
            stream.step(frame)
            recorder.add(stream)
    simulation = simulate(recorder.result(), design, SCHEMES["sites"])
    gated, dense = (
        np.min([_times(session, frames, keyframe=every) for _ in range(repeats)], axis=0).mean(
            axis=0
        )
        for every in (False, True)
    )
    layers = tuple(
        Beside(model.name, float(whole), float(ms), _mean(model_dense), _mean(model))
        for whole, ms, model_dense, model in zip(
            dense[:-1], gated[:-1], simulation.dense, simulation.layers, strict=True
        )
    )
    return Comparison(layers, simulation, *(float(t[-1] / t.sum()) for t in (dense, gated)))


def _times(session: Session, frames: Sequence[Frame], *, keyframe: bool) -> Times:
    """ms [frames but the first, layers + 1]; last what all other steps took."""
    rows = []
    with session.stream() as stream:
        stream.step(frames[0])
        stream.profile = True
        total = 0.0
        for frame in frames[1:]:
            stream.step(frame, keyframe=keyframe)
            spent = [layer.time_ms or 0.0 for layer in stream.stats.layers]
            before, total = total, sum((stream.profile or {}).values())
            rows.append([*spent, total - before - sum(spent)])
    return np.array(rows)


def _mean(cost: LayerCost) -> float:
    return float(cost.cycles.mean())


def table(found: Comparison) -> str:
    """As Markdown, the layers that take most first."""
    sums = [
        sum(getattr(layer, what) for layer in found.layers)
        for what in ("ms_dense", "cycles_dense", "ms", "cycles")
    ]
    lines = [
        "| layer | share, dense: engine | model | share, gated: engine | model | time left: engine "
        "| model |",
        "|---|" + "---:|" * 6,
    ]
    for layer in sorted(found.layers, key=lambda layer: -layer.ms_dense):
        spent = (layer.ms_dense, layer.cycles_dense, layer.ms, layer.cycles)
        shares = [f"{100 * part / whole:.1f} %" for part, whole in zip(spent, sums, strict=True)]
        left = (layer.ms / layer.ms_dense, layer.cycles / layer.cycles_dense)
        cells = (layer.name, *shares, *(f"{100 * part:.0f} %" for part in left))
        lines.append(f"| {' | '.join(cells)} |")
    engine, model = found.left
    lines += [
        "",
        f"All layers: {100 * engine:.0f} % of their time left in the engine, {100 * model:.0f} % "
        f"in the model; rank correlation of time left {_ranks(found):.2f}. Steps that are no "
        f"layers take {100 * found.other_share_dense:.0f} % of the engine's time dense, "
        f"{100 * found.other_share:.0f} % gated; the model leaves them out.",
    ]
    return "\n".join(lines)


def _ranks(found: Comparison) -> float:
    """Spearman's, over layers."""
    engine = np.array([layer.ms / layer.ms_dense for layer in found.layers])
    model = np.array([layer.cycles / layer.cycles_dense for layer in found.layers])
    ranks = [left.argsort().argsort() for left in (engine, model)]
    return float(np.asarray(np.corrcoef(ranks))[0, 1])


def energy_line(
    session: Session,
    model: ModelFile,
    frames: Sequence[Frame],
    simulation: Simulation,
    counters: Path = RAPL,
) -> str:
    """Joules per frame of the engine and of dense onnxruntime, where they can be measured, beside
    the model's.

    Args:
        counters: folder of the kernel's energy counters.
    """
    found = frame_energy(session, model, frames, ["ort-fp32"], counters=packages(counters))
    modelled = f"the model says {100 * simulation.energy_saved:.0f} % saved"
    if isinstance(found, str):
        return f"Energy: {found}; {modelled}."
    ours, dense = found["mquans"], found["ort-fp32"]
    if dense <= 0:
        return f"Energy: a frame takes too little to measure; {modelled}."
    return (
        f"Energy: {1e3 * ours:.2f} mJ per frame, onnxruntime {1e3 * dense:.2f} mJ, "
        f"{100 * (1 - ours / dense):.0f} % saved; {modelled}."
    )


def main() -> None:
    """Prints the table; errors are one sentence on stderr and exit code 1."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("--plan", type=Path, required=True, help="with gates")
    parser.add_argument("--source", required=True, help="clip")
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--skip", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--accelerator", default="cpu2", help="a name or a YAML file")
    try:
        print(_compared(parser.parse_args()))
    except MquansError as error:
        sys.exit(f"mquans: {error}")


def _compared(asked: argparse.Namespace) -> str:
    model = read_model(asked.model)
    session = Session(model, asked.plan)
    with open_planned(session.plan, asked.source, frames=asked.frames, skip=asked.skip) as clip:
        frames = list(clip)
    design = load_accelerator(asked.accelerator)
    found = beside_engine(session, frames, design, repeats=asked.repeats)
    return f"{table(found)}\n{energy_line(session, model, frames, found.simulation)}"


if __name__ == "__main__":
    main()
