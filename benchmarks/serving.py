"""Cameras per core: how many `mquans serve` keeps up with, beside the same server with onnxruntime
as its engine, and beside the engine in a bare loop.

    python benchmarks/serving.py yolox.onnx --plan yolox.plan.json --decode yolox --source clip.avi

The server runs on one core, with one worker and more and more cameras that play the clip at 5
frames per second, until it falls behind; no frame of a file is left out, so what it computes then
is what one core can. Decoding, preparation and the decoder of boxes are part of it. The bare loop
opens as many clips and steps as many streams, one after the other, on the same core.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from mquans import Session
from mquans.sources import Source, open_planned

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


def ask() -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"http://{BIND}/api/cameras", timeout=60) as answer:
        cameras: list[dict[str, Any]] = json.load(answer)["cameras"]
        return cameras


def frames_per_second(given: argparse.Namespace, engine: str, count: int) -> float:
    """Of all cameras together, once all of them have begun."""
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
            before, began = sum(camera["counters"]["frames"] for camera in ask()), time.monotonic()
            time.sleep(given.seconds)
            after, passed_s = sum(c["counters"]["frames"] for c in ask()), time.monotonic() - began
        finally:
            server.terminate()
            server.wait()
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


class Clip:
    """A clip that begins again at its end, with the frames that the server takes of it."""

    def __init__(self, session: Session, source: Path, fps: float) -> None:
        self._session, self._path, self._fps = session, source, fps
        self._stream = session.stream()
        self._source = self._open()
        self._last = -1

    def step(self) -> None:
        while True:
            try:
                self._source.advance()
            except StopIteration:
                self._source.close()
                self._source, self._last = self._open(), -1
                continue
            bucket = int((self._source.time_s or 0.0) * self._fps + 0.25)
            if bucket != self._last:
                self._last = bucket
                self._stream.step(self._source.frame())
                return

    def _open(self) -> Source:
        return open_planned(self._session.plan, str(self._path), pixels=True)


def bare(given: argparse.Namespace, count: int) -> float:
    """Frames per second of a loop over as many clips."""
    session = Session(given.model, given.plan)
    clips = [Clip(session, given.source, given.fps) for _ in range(count)]
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
    parser.add_argument("model", type=Path)
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--decode", help="of the model's outputs, as in the file of cameras")
    parser.add_argument("--fps", type=float, default=5)
    parser.add_argument("--cameras", type=int, default=8, help="to begin with")
    parser.add_argument("--seconds", type=float, default=30, help="of every measurement")
    parser.add_argument("--core", type=int, default=0)
    given = parser.parse_args()
    os.sched_setaffinity(0, {given.core})
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
