"""Errors on clips that were not calibrated on: how well do plans carry over to other scenes?

    python benchmarks/other_clips.py --shared ../shared

Every detector is calibrated on the first frames of a clip, and run with everything computed on
later frames of it and on frames of all other clips. An error is the squared difference to
onnxruntime in fp32 over the squares, of one output and frame: geometric mean, 95th percentile,
largest. `--growth 1` leaves channels that were quiet without reserve (decision 66).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

import mquans
from mquans.baselines import open_engine
from mquans.calibration.sites import reserve
from mquans.onnx import ModelFile
from mquans.plan import NetworkOptions
from mquans.runtime.session import Session
from mquans.sources.frames import Feeds
from mquans_studies.cases.networks import DETECTORS, FIXED_CAMERAS, NETWORKS, SHARED, load_frames

Outputs = dict[str, np.ndarray]

LEAST = 1e-12
"""Below, an error is none."""


def errors(session: Session, frames: list[Feeds], dense: list[Outputs]) -> list[float]:
    """Of every output of every frame."""
    stream = session.stream()
    found = []
    for frame, wanted in zip(frames, dense, strict=True):
        outputs = stream.step(frame, keyframe=True)
        for name, values in wanted.items():
            off = np.square(outputs[name].astype(np.float64) - values).sum()
            found.append(max(off / max(np.square(values).sum(), LEAST), LEAST))
    return found


def carried_over(
    network: str, model: ModelFile, count: int, shared: Path
) -> tuple[list[float], list[float]]:
    """(errors on later frames of the clip that was calibrated on, errors on others)."""
    options = NetworkOptions(NETWORKS[network].shapes)
    engine = open_engine("ort-fp32", model, options)
    parts = {clip: load_frames(network, clip, count, count, shared) for clip in FIXED_CAMERAS}
    dense = {clip: [engine.step(frame) for frame in later] for clip, (_, later) in parts.items()}
    own, others = list[float](), list[float]()
    for learned, (first, _) in parts.items():
        plan = mquans.calibrate(
            model, first, bits=12, stress=False, input_shapes=NETWORKS[network].shapes
        )
        session = mquans.Session(model, plan)
        for clip, (_, later) in parts.items():
            (own if clip == learned else others).extend(errors(session, later, dense[clip]))
    return own, others


def shown(found: list[float]) -> str:
    mean = np.exp(np.mean(np.log(found)))
    return f"{mean:.1e}, 95 % {np.percentile(found, 95):.1e}, largest {max(found):.1e}"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--networks", type=lambda text: text.split(","), default=list(DETECTORS))
    parser.add_argument("--frames", type=int, default=12, help="calibrated on, and run, of a clip")
    parser.add_argument("--growth", type=float, default=reserve.GROWTH)
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder of models and data")
    arguments = parser.parse_args()
    reserve.GROWTH = arguments.growth
    for network in arguments.networks:
        model = NETWORKS[network].model(arguments.shared)
        own, others = carried_over(network, model, arguments.frames, arguments.shared)
        print(f"{network:12}  own clip {shown(own)}; other clips {shown(others)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
