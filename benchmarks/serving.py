"""Cameras per core: how many `mquans serve` keeps up with, beside the same server with onnxruntime
as its engine, and beside the engine in a bare loop.

    python benchmarks/serving.py yolox.onnx --plan yolox.plan.json --decode yolox --source clip.avi

The server runs on one core, with one worker and more and more cameras that play the clip at 5
frames per second, until it falls behind; no frame of a file is left out, so what it computes then
is what one core can. Decoding, preparation and the decoder of boxes are part of it. The bare loop
opens as many clips and steps as many streams, one after the other, on the same core.

With `--overhead` a worker of a server that is not at its limit is compared with such a loop in CPU
time per frame; this holds on a busy machine, too.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from serving_loop import add_arguments, open_clips

ENGINES = ("mquans", "onnxruntime")
BIND = "127.0.0.1:8699"
KEPT_UP = 0.97
WARM_S = 5.0
MOST_CAMERAS = 256


def file_of_cameras(given: argparse.Namespace, count: int) -> str:
    """JSON is YAML as well."""
    model = {"onnx": str(given.model.resolve()), "plan": str(given.plan.resolve())}
    camera = {"source": str(given.source.resolve()), "loop": True}
    return json.dumps(
        {
            "server": {"bind": BIND, "workers": 1, "hang_s": 60},
            "models": {"m": model | ({"decode": given.decode} if given.decode else {})},
            "defaults": {"model": "m", "fps": given.fps},
            "cameras": {f"c{number}": camera for number in range(count)},
        }
    )


@contextmanager
def serving(given: argparse.Namespace, engine: str, count: int) -> Iterator[None]:
    """A server whose cameras have all begun."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "cameras.yaml")
        file.write_text(file_of_cameras(given, count))
        server = subprocess.Popen(
            [sys.executable, "-m", "mquans", "serve", str(file), "--engine", engine]
        )
        try:
            while True:
                time.sleep(1)
                if server.poll() is not None:
                    raise SystemExit("the server ended")
                try:
                    if all(camera["counters"]["frames"] > 1 for camera in ask()):
                        break
                except OSError:
                    continue
            time.sleep(min(WARM_S, given.seconds))
            yield
        finally:
            server.terminate()
            server.wait()


def ask() -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"http://{BIND}/api/cameras", timeout=60) as answer:
        cameras: list[dict[str, Any]] = json.load(answer)["cameras"]
        return cameras


def frames_so_far() -> int:
    return sum(camera["counters"]["frames"] for camera in ask())


def worker_s() -> float:
    """CPU time that the worker has spent so far."""
    with urllib.request.urlopen(f"http://{BIND}/metrics", timeout=60) as answer:
        [pid] = re.findall(r'mquans_worker_info{pid="(\d+)"', answer.read().decode())
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def overhead(given: argparse.Namespace) -> None:
    """CPU time of a worker per frame beside that of the bare loop over the same clips, at the same
    time and rate on the same core: what neighbours cost, they cost both."""
    loop = Path(__file__).with_name("serving_loop.py")
    with serving(given, "mquans", given.cameras):
        before, spent_s = frames_so_far(), worker_s()
        options = {"plan": given.plan, "source": given.source, "fps": given.fps}
        options |= {"decode": given.decode} if given.decode else {}
        options |= {"cameras": given.cameras, "skip": before // given.cameras}
        options |= {"frames": round(given.seconds * given.fps)}
        words = [f"--{name}={value}" for name, value in options.items()]
        done = subprocess.run(
            [sys.executable, str(loop), str(given.model), *words],
            stdout=subprocess.PIPE,
            check=True,
        )
        frames, spent_s = frames_so_far() - before, worker_s() - spent_s
    bare = json.loads(done.stdout)
    whole, read = bare["all_ms"], bare["read_ms"]
    ours = 1e3 * spent_s / frames
    print("| CPU time per frame | with reading and decoding | without |\n|---|---|---|")
    print(f"| bare loop | {whole:.2f} ms | {whole - read:.2f} ms |")
    print(f"| worker | {ours:.2f} ms | {ours - read:.2f} ms |")
    print(f"| overhead | {ours / whole - 1:+.1%} | {(ours - read) / (whole - read) - 1:+.1%} |")


def frames_per_second(given: argparse.Namespace, engine: str, count: int) -> float:
    """Of all cameras together, once all of them have begun."""
    with serving(given, engine, count):
        before, began = frames_so_far(), time.monotonic()
        time.sleep(given.seconds)
        after, passed_s = frames_so_far(), time.monotonic() - began
    return (after - before) / passed_s


def capacity(given: argparse.Namespace, engine: str) -> tuple[float, int]:
    """Frames per second of one core, and the number of cameras that it was measured with."""
    count = given.cameras
    while True:
        rate = frames_per_second(given, engine, count)
        print(f"{engine}, {count} cameras: {rate:.1f} of {count * given.fps:g} frames/s")
        if rate < KEPT_UP * count * given.fps or count >= MOST_CAMERAS:
            return rate, count
        count = min(2 * count, MOST_CAMERAS)


def bare(given: argparse.Namespace, count: int) -> float:
    """Frames per second of a loop over as many clips."""
    clips = open_clips(given, count)
    for clip in clips:
        clip.step()
    done, began = 0, time.monotonic()
    while time.monotonic() - began < given.seconds:
        for clip in clips:
            clip.step()
        done += count
    return done / (time.monotonic() - began)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    parser.add_argument("--seconds", type=float, default=30, help="of every measurement")
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument(
        "--overhead", action="store_true", help="compare CPU times only, with --cameras cameras"
    )
    given = parser.parse_args()
    os.sched_setaffinity(0, {given.core})
    if given.overhead:
        overhead(given)
        return
    rates, counts = {}, {}
    for engine in ENGINES:
        rates[engine], counts[engine] = capacity(given, engine)
    loop = bare(given, counts["mquans"])
    print(f"| engine | frames/s of one core | cameras at {given.fps:g} frames/s |\n|---|---|---|")
    for engine, rate in rates.items():
        print(f"| server, {engine} | {rate:.1f} | {rate / given.fps:.1f} |")
    print(f"| bare loop, mquans | {loop:.1f} | {loop / given.fps:.1f} |")
    print(
        f"\n{rates['mquans'] / rates['onnxruntime']:.2f} times the cameras of onnxruntime; ", end=""
    )
    print(f"the server takes {loop / rates['mquans'] - 1:+.1%} of the bare loop's time.")


if __name__ == "__main__":
    main()
