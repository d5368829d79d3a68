"""What fine-tuning at the widths of a plan gives: PilotNet on the driving track.

    python -m mquans_studies.finetune.driving --json fine-tuning.json

Trains on the first part of the track (needs torch), without labels: the network learns to give its
own fp32 steering under coarse plans. Then calibrates the untrained and the trained networks on
frames of that part at several uniform widths and measures all of them on the rest of the track.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

import mquans
from mquans.baselines import open_engine
from mquans.evaluate import Work
from mquans.files import atomic_write
from mquans.onnx import ModelFile, read_model
from mquans.plan import NetworkOptions
from mquans_studies.cases.steering import MODEL, Frames, load_track
from mquans_studies.finetune import finetune
from mquans_studies.methods.operating_points import Point, work_at

SHARED = Path("../shared")
TRAINED = 0.7
"""Share of the track, its first part, that is trained and calibrated on."""

CALIBRATION_STRIDE = 5
BITS = (3, 4, 5, 6, 7, 8)


@dataclass(frozen=True, slots=True)
class Run:
    """A plan on the rest of the track: root mean square differences in the unit of steering, to the
    untrained fp32 network and to the person."""

    bits: int
    macs_fraction: float
    to_fp32: float
    to_person: float


def main() -> None:
    parser = argparse.ArgumentParser(description="Work saved by fine-tuning PilotNet.")
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder of models and data")
    parser.add_argument("--frames", type=int, help="of the track; default all")
    parser.add_argument("--bits", type=int, default=4, help="width that is trained at")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--rate", type=float, default=2e-3, help="relative learning rate")
    parser.add_argument("--work", type=float, nargs="*", default=[0.0, 2.0])
    parser.add_argument("--json", type=Path, help="file for the results")
    args = parser.parse_args()
    frames, steering = load_track(args.shared, args.frames)
    cut = round(TRAINED * len(frames))
    before, after = frames[:cut], frames[cut:]
    model = read_model(args.shared / MODEL)
    fp32 = dense_steering(model, after)

    def measured(network: ModelFile) -> list[Run]:
        return [measure(network, bits, before, after, fp32, steering[cut:]) for bits in BITS]

    results: dict[str, Any] = {"fp32_to_person": rms(fp32, steering[cut:])}
    runs = {"untrained": measured(model)}
    plan = calibrated(model, args.bits, before)
    for work in args.work:
        start = perf_counter()
        tuned = finetune(
            model, plan, before, epochs=args.epochs, learning_rate=args.rate, work=work
        )
        name = f"trained at {args.bits} bits, work {work:g}"
        results[name] = {"seconds": perf_counter() - start, "losses": tuned.losses}
        runs[name] = measured(tuned.model)
    results["runs"] = {name: [asdict(run) for run in found] for name, found in runs.items()}
    print(table(runs))
    if args.json:
        atomic_write(args.json, json.dumps(results, indent=1).encode())


def calibrated(model: ModelFile, bits: int, frames: Frames) -> mquans.Plan:
    return mquans.calibrate(model, frames[::CALIBRATION_STRIDE], bits=bits)


def dense_steering(model: ModelFile, frames: Frames) -> np.ndarray:
    """Steering of the fp32 network, [frames]."""
    engine = open_engine("ort-fp32", model, NetworkOptions({"x": (1, *frames.shape[1:])}))
    return np.array([engine.step({"x": frame[None]})["steer"].item() for frame in frames])


def measure(
    model: ModelFile,
    bits: int,
    before: Frames,
    after: Frames,
    fp32: np.ndarray,
    person: np.ndarray,
) -> Run:
    """Calibrates on frames `before` and runs the frames `after` as one stream."""
    session = mquans.Session(model, calibrated(model, bits, before))
    work, found = Work(), []
    with session.stream() as stream:
        for frame in after:
            found.append(stream.step(frame[None])["steer"].item())
            work.add(stream.stats)
    steering = np.array(found)
    return Run(bits, work.macs_fraction, rms(steering, fp32), rms(steering, person))


def rms(a: np.ndarray, b: np.ndarray) -> float:
    """Root mean square difference."""
    return float(np.sqrt(np.mean(np.square(a - b))))


def table(runs: dict[str, list[Run]]) -> str:
    """Work at equal difference to the untrained fp32 network, as Markdown."""
    limits = sorted({run.to_fp32 for run in runs["untrained"]}, reverse=True)
    lines = [
        "| network | " + " | ".join(f"MACs at {limit:.3f}" for limit in limits) + " |",
        "|---" * (len(limits) + 1) + "|",
    ]
    for name, found in runs.items():
        points = [Point(run.macs_fraction, run.to_fp32) for run in found]
        cells = [percent(work_at(points, limit)) for limit in limits]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def percent(value: float | None) -> str:
    return "not reached" if value is None else f"{value:.1%}"


if __name__ == "__main__":
    main()
