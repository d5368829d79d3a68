"""Where the time of a frame goes: milliseconds per frame and kind of step.

python benchmarks/frame_time.py MODEL --plan PLAN --source CLIP [--skip N] [--frames N]
"""

from __future__ import annotations

import argparse
import time
from collections import Counter

import numpy as np

import mquans
from mquans.graph import Conv, ConvTranspose, Graph, Node

CODES = {
    "encoded": "floats to codes",
    "decoded": "codes to floats",
    "reread": "layout",
}
"""What steps do that belong to no operator, by the last word of their label."""


def kind(node: Node | None, label: str, graph: Graph) -> str:
    """What a step is called in the table."""
    if node is None and (word := label.rpartition(" ")[2]) in CODES:
        return CODES[word]
    if node is None:
        return "quantize and compare" if label.startswith("quantize") else "layout"
    if isinstance(node.op, Conv | ConvTranspose):
        if node.op.groups > 1:
            return "depthwise and grouped conv"
        return f"conv {'x'.join(map(str, node.op.kernel))}"
    return type(node.op).__name__.lower()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--plan", required=True)
    parser.add_argument("--source", required=True)
    parser.add_argument("--skip", type=int, default=0)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()

    plan = mquans.read_plan(arguments.plan)
    session = mquans.Session(arguments.model, plan, threads=arguments.threads)
    with mquans.open_source(
        arguments.source,
        plan.input,
        frames=arguments.frames,
        skip=arguments.skip,
        input_shapes=plan.input_shapes,
    ) as source:
        frames = list(source)
    stream = session.stream()
    stream.step(frames[0])
    stream.profile = True
    times, done = [], 0
    for frame in frames[1:]:
        start = time.perf_counter()
        stream.step(frame)
        times.append(1e3 * (time.perf_counter() - start))
        done += stream.stats.macs_done
    count = len(times)
    nodes = {node.name: node for node in session.graph.nodes}
    spent: Counter[str] = Counter()
    for label, total_ms in (stream.profile or {}).items():
        spent[kind(nodes.get(label), label, session.graph)] += total_ms / count
    spent["input, output, Python"] = float(np.mean(times)) - sum(spent.values())

    print(f"{session.isa}, {session.threads} thread(s), {count} frames after the first")
    print(f"median {np.median(times):.2f} ms, p95 {np.percentile(times, 95):.2f} ms")
    print(f"MACs done {done / count / stream.stats.macs_total:.1%}")
    for name, each_ms in spent.most_common():
        print(f"{name:28s} {each_ms:7.3f} ms  {each_ms / np.mean(times):6.1%}")


if __name__ == "__main__":
    main()
