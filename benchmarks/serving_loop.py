"""The engine in a bare loop over clips, with what a program without the server would do: read, take
frames at a rate, step, decode boxes.

    python benchmarks/serving_loop.py MODEL --plan PLAN --source CLIP --skip 30 --frames 150

steps as many clips as it is told at that rate and prints CPU time per frame as JSON: of all of it,
and of it what was spent on reading and decoding.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mquans import Session
from mquans.plan import AudioFormat
from mquans.serve.engines import decoder_of
from mquans.serve.feed import Pace, frame_seconds
from mquans.sources import Source, open_planned

Decode = Callable[[Any], Any]


class Clip:
    """A clip that begins again at its end, with the frames that the server takes of it.

    Attributes:
        read_s: CPU time of this thread in reading and decoding so far.
    """

    def __init__(self, session: Session, source: Path, fps: float, decode: Decode | None) -> None:
        self._plan, self._path, self._fps, self._decode = session.plan, source, fps, decode
        self._stream = session.stream()
        self._begin()
        self.read_s = 0.0

    def step(self) -> None:
        began_s = time.thread_time()
        while not self._wanted():
            pass
        self.read_s += time.thread_time() - began_s
        outputs = self._stream.step(self._source.frame())
        if self._decode is not None:
            self._decode(outputs)

    def _wanted(self) -> bool:
        try:
            self._source.advance()
        except StopIteration:
            self._source.close()
            self._begin()
            return False
        return self._pace.wants(self._source.time_s, time.monotonic())

    def _begin(self) -> None:
        self._source: Source = open_planned(self._plan, str(self._path), pixels=True)
        files_do_not_wait = threading.Event()
        files_do_not_wait.set()
        self._pace = Pace(
            frame_seconds(self._plan, self._fps),
            every=isinstance(self._plan.preparation, AudioFormat),
            live=False,
            closing=files_do_not_wait,
        )


def open_clips(given: argparse.Namespace, count: int) -> list[Clip]:
    """As many clips, and the streams that step them."""
    session = Session(given.model, given.plan)
    decode = decoder_of(given.decode, None, session.plan)
    return [Clip(session, given.source, given.fps, decode) for _ in range(count)]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the loop and the server are given alike."""
    parser.add_argument("model", type=Path)
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--decode", help="of the model's outputs, as in the file of cameras")
    parser.add_argument("--fps", type=float, default=5)
    parser.add_argument("--cameras", type=int, default=8, help="to begin with")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    parser.add_argument("--skip", type=int, default=0, help="frames before those that count")
    parser.add_argument("--frames", type=int, default=150)
    given = parser.parse_args()
    clips = open_clips(given, given.cameras)
    for _ in range(given.skip):
        for clip in clips:
            clip.step()
    began_s, spent_s = time.monotonic(), time.process_time()
    read_s = sum(clip.read_s for clip in clips)
    for number in range(given.frames):
        time.sleep(max(0.0, began_s + number / given.fps - time.monotonic()))
        for clip in clips:
            clip.step()
    frames = given.frames * len(clips)
    read_s = sum(clip.read_s for clip in clips) - read_s
    spent_s = time.process_time() - spent_s
    print(json.dumps({"all_ms": 1e3 * spent_s / frames, "read_ms": 1e3 * read_s / frames}))


if __name__ == "__main__":
    main()
