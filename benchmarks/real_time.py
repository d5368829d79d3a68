"""Many microphones in real time: hops that come late, and how busy the cores are.

    python benchmarks/real_time.py --json speech.json --markdown speech.md

Ten streams of NSNet2 hand in a hop every 10 ms, all at once; two threads answer them. A hop is late
when its answer is not there before the next one comes. Our streams share one session; of
onnxruntime every stream has a session of its own, one thread each. `busy-loop` spins for as long as
our hop takes: what is late of it, the machine's own pauses delayed. Plans are those that `speech.py
--phases plans` has left beside the JSON file.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from speech_cases import CASES, whole_options
from speech_tables import markdown

import mquans
from mquans.baselines import open_engine
from mquans.files import atomic_write
from mquans.onnx import read_model
from mquans_studies.cases.networks import SHARED
from mquans_studies.cases.record import Record

NETWORK = "nsnet2"
PERIOD_S = 0.010
SPIN_S = 0.0002
"""A hop of the busy loop."""

Step = Callable[[Any], Any]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, required=True, help="the record of speech.py")
    parser.add_argument("--markdown", type=Path, help="file for the tables")
    parser.add_argument("--streams", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder of data")
    args = parser.parse_args()
    record, case = Record(args.json), CASES[NETWORK]
    frames = case.hear("test", args.shared, Path()).frames
    model, options = read_model(case.model(Path())), whole_options(case, Path())
    for kind in ("busy-loop", "criticality", "uniform", "ort-fp32"):
        if kind == "busy-loop":
            steps: list[Step] = [spin] * args.streams
        elif kind == "ort-fp32":
            steps = [open_engine(kind, model, options).step for _ in range(args.streams)]
        else:
            plan = mquans.read_plan(record.plan_file(NETWORK, "speech", kind))
            session = mquans.Session(model, plan)
            steps = [session.stream().step for _ in range(args.streams)]
        for step in steps:  # what a first hop sets up is no part of the stream
            step(frames[0])
        name = f"mquans-{kind}" if kind in ("criticality", "uniform") else kind
        record.put("real-time", name, pace(steps, frames, args.seconds, args.threads))
    text = markdown(record.data)
    print(text)
    if args.markdown:
        atomic_write(args.markdown, text.encode())


def spin(_: Any) -> None:
    """A hop that needs no memory."""
    end = time.perf_counter() + SPIN_S
    while time.perf_counter() < end:
        pass


def pace(
    steps: Sequence[Step], frames: Sequence[Any], seconds: float, workers: int
) -> dict[str, Any]:
    """Hands every stream a hop per period for some time.

    Streams start at different places of the recording. A worker owns every `workers`-th stream.
    """
    hops = round(seconds / PERIOD_S)
    delays = np.zeros((len(steps), hops))
    start = time.perf_counter() + 0.1

    def work(first: int) -> None:
        for hop in range(hops):
            due = start + hop * PERIOD_S
            if (wait := due - time.perf_counter()) > 0:
                time.sleep(wait)
            for stream in range(first, len(steps), workers):
                steps[stream](frames[(hop + 97 * stream) % len(frames)])
                delays[stream, hop] = time.perf_counter() - due

    threads = [threading.Thread(target=work, args=(first,)) for first in range(workers)]
    busy = time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    busy = time.process_time() - busy
    return {
        "streams": len(steps),
        "hops": hops * len(steps),
        "late": int((delays > PERIOD_S).sum()),
        "worst_ms": 1000 * float(delays.max()),
        "median_ms": 1000 * float(np.median(delays)),
        "cores_busy": busy / (hops * PERIOD_S),
    }


if __name__ == "__main__":
    main()
