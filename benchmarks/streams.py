"""Many streams on one machine: frames per second of one session against as many of onnxruntime.

    python benchmarks/streams.py --json bench.json --markdown bench.md

Eight cameras over two cores by default; every stream has its own part of a fixed-camera clip. Our
streams share one session of one thread each; of onnxruntime every stream gets a session of its own,
one thread each. Threads of Python take frames in turn. Rounds of a few frames alternate between
engines, and the median round counts. Plans are those that `engines.py --phases plans` has left
beside the JSON file, of the clip that mixes cameras; the result is merged into it.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cells import OURS
from tables import report

import mquans
from mquans.baselines import open_engine
from mquans.errors import DependencyError, MquansError
from mquans.evaluate import throughput
from mquans.onnx import ModelFile
from mquans.plan import NetworkOptions, read_plan
from mquans.sources.frames import Feeds
from mquans_studies.cases.networks import DETECTORS, FIXED_CAMERAS, NETWORKS, SHARED, load_frames
from mquans_studies.cases.record import Record

DENSE = ("ort-fp32", "ort-int8", "ort-int8-qoperator")
MIXED = "cuts"
"""The clip whose plan is taken: scenes of several cameras, so that it knows the values of all."""

Step = Callable[[Feeds], object]


def clips_for(network: str, streams: int, count: int, skip: int, shared: Path) -> list[list[Feeds]]:
    """Frames of every stream: cameras in turn, from another moment where one is used again. Clips
    without so many frames are left out.

    Raises:
        MquansError: no clip has as many.
    """
    offset = max(count // 4, 1)
    longest = count + streams * offset
    loaded = (load_frames(network, clip, skip, longest, shared)[1] for clip in FIXED_CAMERAS)
    cameras = [frames for frames in loaded if len(frames) >= count]
    if not cameras:
        raise MquansError(f"no clip has {count} frames.", hint="Fewer --frames.")
    clips = []
    for stream in range(streams):
        camera = cameras[stream % len(cameras)]
        # The last frames of a short clip: the streams of one camera then differ by less.
        start = min(stream // len(cameras) * offset, len(camera) - count)
        clips.append(camera[start : start + count])
    return clips


def open_streams(
    network: str, model: ModelFile, clips: Sequence[Sequence[Feeds]], record: Record
) -> dict[str, list[Step]]:
    """Steps of every stream by engine."""
    shapes = NETWORKS[network].shapes
    opened: dict[str, list[Step]] = {}
    for kind, ours in OURS.items():
        file = record.plan_file(network, MIXED, kind)
        if file.exists():
            session = mquans.Session(model, read_plan(file))
            opened[ours] = [session.stream().step for _ in clips]
    if OURS["uniform"] not in opened:
        raise MquansError(
            f"there is no plan for {network} on the clip {MIXED!r}.",
            hint=f"Run: benchmarks/engines.py --phases plans --clips {MIXED} --json (the same).",
        )
    frames = [clip[0] for clip in clips]
    for name in DENSE:
        try:
            opened[name] = [
                open_engine(name, model, NetworkOptions(shapes), calibration=frames).step
                for _ in clips
            ]
        except MquansError as error:
            print(f"{name}: {error}", flush=True)
    return opened


def measure(
    steps: dict[str, list[Step]], clips: Sequence[Sequence[Feeds]], *, cores: int, rounds: int
) -> dict[str, Any]:
    """Frames per second by engine: all streams over the cores, and one stream alone on one."""
    length = min(len(clip) for clip in clips) // (rounds + 1)
    if not length:
        raise MquansError(f"the clips are too short for {rounds} rounds.", hint="Fewer --rounds.")

    def part(index: int) -> list[Sequence[Feeds]]:
        return [clip[index * length : (index + 1) * length] for clip in clips]

    rates: dict[str, list[float]] = {name: [] for name in steps}
    alone: dict[str, list[float]] = {name: [] for name in steps}
    for index in range(rounds + 1):
        for name, streams in steps.items():
            single = throughput(streams[:1], part(index)[:1], workers=1)
            together = throughput(streams[1:], part(index)[1:], workers=cores)
            if index:  # the first round warms up
                alone[name].append(single.frames_per_second)
                rates[name].append(together.frames_per_second)
    return {
        name: {
            "frames_per_second": float(np.median(rates[name])),
            "per_core": float(np.median(rates[name])) / cores,
            "alone": float(np.median(alone[name])),
        }
        for name in steps
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", required=True, help="the record of engines.py")
    parser.add_argument("--markdown", help="also write the tables of the record here")
    parser.add_argument("--networks", type=lambda text: text.split(","), default=list(DETECTORS))
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--frames", type=int, default=48, help="of every stream, all rounds")
    parser.add_argument("--skip", type=int, default=48, help="frames that plans were made from")
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder of models and data")
    arguments = parser.parse_args()
    record = Record(Path(arguments.json))
    for network in arguments.networks:
        if network not in NETWORKS:
            raise MquansError(f"there is no network {network!r}.", hint=", ".join(NETWORKS))
        try:
            model = NETWORKS[network].model(arguments.shared)
        except DependencyError as error:
            print(f"{network} is left out: {error}")
            continue
        # One stream more: it runs alone.
        clips = clips_for(
            network, arguments.streams + 1, arguments.frames, arguments.skip, arguments.shared
        )
        steps = open_streams(network, model, clips, record)
        engines = measure(steps, clips, cores=arguments.cores, rounds=arguments.rounds)
        key = f"{network}/{arguments.streams}/{arguments.cores}"
        record.put("streams", key, {"engines": engines, "frames": arguments.frames})
        print(key, {name: round(e["frames_per_second"], 1) for name, e in engines.items()})
    report(record, arguments.markdown)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MquansError as error:
        sys.exit(f"error: {error}")
