"""A network under a plan beside onnxruntime: outputs, and whether reuse changed any bit.

python -m tests.fuzz.agreement --first 0 --count 10000
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping

import numpy as np
import onnx
import onnxruntime

import mquans
from mquans.errors import MquansError

from .growing import Shape
from .random_networks import random_network

Frame = dict[str, np.ndarray]

SCENE = 8
"""Frames; in the first ones of a scene something moves, the last one is as the one before."""

SEEN = 14
"""First frames, whose ranges calibration knows."""

MOST = 2e-3
"""Squared error over squared outputs."""


def frames_of(inputs: Mapping[str, Shape], seed: int, count: int = 3 * SCENE) -> list[Frame]:
    """Pictures in which a patch moves."""
    rng = np.random.default_rng(seed)
    made: list[Frame] = []
    for index in range(count):
        frame = {name: array.copy() for name, array in made[-1].items()} if made else {}
        for name, shape in inputs.items():
            if index % SCENE == 0:
                frame[name] = rng.normal(size=shape).astype(np.float32)
            elif index % SCENE < SCENE - 1:
                top, left = rng.integers(0, shape[2]), rng.integers(0, shape[3])
                patch = frame[name][..., top : top + 3, left : left + 3]
                patch += rng.normal(size=patch.shape).astype(np.float32)
        made.append(frame)
    return made


def disagreement(
    network: onnx.ModelProto, inputs: Mapping[str, Shape], seed: int = 0
) -> str | None:
    """What is wrong with a network, computed by 12 bits; None if nothing is."""
    data = network.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    frames = frames_of(inputs, seed)
    try:
        reference = onnxruntime.InferenceSession(data, options)
        expected = [reference.run(None, frame) for frame in frames]
    except Exception as error:  # of kinds of its own: it does not run some Resizes
        if type(error).__module__.startswith("onnxruntime"):
            return None
        raise
    if not all(np.isfinite(array).all() for outputs in expected for array in outputs):
        return None
    try:
        plan = mquans.calibrate(data, frames, bits=12, stress=False)
        session = mquans.Session(data, plan)
    except MquansError as error:
        return str(error)
    stream, dense = session.stream(), session.stream()
    for index, (frame, wanted) in enumerate(zip(frames, expected, strict=True)):
        found = dense.step(frame, keyframe=True)
        for (name, array), other in zip(found.items(), wanted, strict=True):
            if array.shape != other.shape:
                return f"output {name} has shape {array.shape} instead of {other.shape}"
            off = float(np.square(array - other).sum())
            if index < SEEN and off > MOST * np.square(other).sum() + 1e-6 * other.size:
                return f"output {name} is off by {np.abs(array - other).max():.2g}, frame {index}"
        stream.step(frame)
        if (fault := stream.check()) is not None:
            return f"reuse changed {fault}, frame {index}"
    return None


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=1000)
    args = parser.parse_args()
    wrong = 0
    for seed in range(args.first, args.first + args.count):
        if complaint := disagreement(*random_network(seed), seed):
            sys.stdout.write(f"seed {seed}: {complaint}\n")
            wrong += 1
    sys.stdout.write(f"{args.count} networks, {wrong} of them wrong\n")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
