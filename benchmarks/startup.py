"""Session start, first frame and memory of one engine, in a process of its own.

Run by `engines.py`; prints one JSON object. `start_ms` is from a model in memory to a session that
can take a frame (quantization, calibration and imports not counted), `first_ms` the first frame,
`rss_bytes` what the process has grown by after a few frames; medians of three, memory of the first.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

import mquans
from mquans.baselines import load_engine
from mquans.evaluate.interleave import Step
from mquans.onnx import read_model
from mquans.plan import read_plan

REPEATS = 3


def resident_bytes() -> int:
    """Memory of this process that lies in RAM."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def opener(arguments: argparse.Namespace) -> Callable[[], tuple[Any, Step]]:
    """Makes (what must be kept alive, its step) anew at every call."""
    if arguments.engine.startswith("mquans"):
        model, plan = read_model(arguments.model), read_plan(arguments.plan)

        def ours() -> tuple[Any, Step]:
            session = mquans.Session(model, plan, threads=arguments.threads)
            stream = session.stream()
            return (session, stream), stream.step

        return ours
    data = Path(arguments.model).read_bytes()

    def dense() -> tuple[Any, Step]:
        name, threads = arguments.engine, arguments.threads
        engine = load_engine(name, data, model_name="model", threads=threads)
        return engine, engine.step

    return dense


def warm_imports(engine: str) -> None:
    """Imports what a session imports, so that it is not timed."""
    for package in ("onnx", "onnxruntime"):
        import_module(package)
    if engine.startswith("openvino"):
        import_module("openvino").Core()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("engine")
    parser.add_argument("--model", required=True, help="as the engine loads it")
    parser.add_argument("--plan", help="for mquans")
    parser.add_argument("--frames", required=True, help=".npz, one array [frames, ...] per input")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()

    with np.load(arguments.frames) as stored:
        arrays = {name: stored[name] for name in stored.files}
    count = len(next(iter(arrays.values())))
    frames = [{name: array[i] for name, array in arrays.items()} for i in range(count)]
    warm_imports(arguments.engine)
    open_one = opener(arguments)
    gc.collect()
    before, grown = resident_bytes(), 0
    start_ms, first_ms = [], []
    for repeat in range(REPEATS):
        start = perf_counter()
        kept, step = open_one()
        started = perf_counter()
        step(frames[0])
        first_ms.append(1e3 * (perf_counter() - started))
        start_ms.append(1e3 * (started - start))
        for frame in frames[1:]:
            step(frame)
        if repeat == 0:
            grown = resident_bytes() - before
        del kept, step
        gc.collect()
    found = {
        "start_ms": float(np.median(start_ms)),
        "first_ms": float(np.median(first_ms)),
        "rss_bytes": grown,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
