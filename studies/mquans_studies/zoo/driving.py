"""AutoPilot on a recorded drive: steering from pictures."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from mquans.errors import SourceError
from mquans.plan import InputFormat
from mquans.sources.preparation import Preparation
from mquans_studies.zoo.networks import AutoPilot
from mquans_studies.zoo.training import Labelled, Task

FORMAT = InputFormat(name="picture", width=200, height=66, scale=1 / 255)
ROAD = slice(60, 135)
"""Rows between sky and bonnet, of 160."""

TRAINED, TESTED = 0.7, 0.8
"""Shares of the drive: trained on up to the first, tested on from the second on."""

CALIBRATED = 0.5
"""Share from which on plans are made, up to the test."""

SMOOTHING_FRAMES = 29
STRETCH = 25
"""Frames of a block: longer than the smoothing reaches to one side."""

BATCH = 32
LIGHT = 0.3
"""How much brighter or darker pictures are trained on."""


class Driving(Task):
    """A drive as `labels.csv` (columns frame, steering) and pictures in `IMG`.

    Steering is smoothed over two seconds: a keyboard steers in jerks, 72 % of the labels of the
    recording that this was made for are exact zeros. Pictures are trained on mirrored,
    brighter and darker, too.
    """

    steps = 1200
    learning_rate = 1e-3
    outputs = ("steering",)

    def __init__(self, folder: Path, *, seed: int) -> None:
        pictures, steering = read_drive(folder)
        count = len(pictures)
        end, begin = int(TRAINED * count), int(TESTED * count)
        self._train = pictures[:end], steering[:end]
        self._test = pictures[begin:], steering[begin:]
        between = slice(int(CALIBRATED * count), begin)
        self._calibration = pictures[between], steering[between]
        self._scale = float(steering[:end].std())
        self._generator = torch.Generator().manual_seed(seed)
        self.network = AutoPilot()
        self.inputs = {"picture": pictures[:1]}
        self.notes = {
            "split": f"by time: frames 0 to {end - 1} train, {begin} to {count - 1} test",
            "labels": f"steering, smoothed over {SMOOTHING_FRAMES} frames (Hann window)",
            "input": "rows 60 to 134 of the picture, 200x66, RGB from 0 to 1",
            "departure": "the published network ends in 2 atan(.); this one is linear",
        }

    def loss(self, progress: float) -> Any:
        """Squared error over the labels' variance."""
        pictures, steering = self._train
        chosen = torch.randint(len(pictures), (BATCH,), generator=self._generator)
        mirrored = torch.randint(2, (BATCH,), generator=self._generator).bool()
        batch, wanted = pictures[chosen], steering[chosen].clone()
        batch[mirrored] = batch[mirrored].flip(-1)
        wanted[mirrored] *= -1
        light = 1 + LIGHT * (2 * torch.rand(BATCH, 1, 1, 1, generator=self._generator) - 1)
        found = self.network((batch * light).clamp(max=1))[:, 0]
        return ((found - wanted) / self._scale).square().mean()

    def accuracy(self) -> dict[str, float]:
        """Root mean square error, plain and over the deviation of the labels (1: no better than
        their mean)."""
        pictures, steering = self._test
        found = torch.cat([self.network(part)[:, 0] for part in pictures.split(BATCH)])
        rmse = float((found - steering).square().mean().sqrt())
        return {"rmse": rmse, "relative_rmse": rmse / float(steering.std(correction=0))}

    def held_out(self) -> Labelled:
        return _labelled(*self._test)

    def calibration(self) -> Labelled:
        """The end of what was trained on, and what follows up to the test."""
        return _labelled(*self._calibration)


def _labelled(pictures: Any, steering: Any) -> Labelled:
    blocks = [str(frame // STRETCH) for frame in range(len(pictures))]
    return Labelled(pictures[:, None].numpy(), steering.tolist(), blocks)


def read_drive(folder: Path) -> tuple[Any, Any]:
    """(pictures [N, 3, 66, 200], smoothed steering [N]), in order of time.

    Raises:
        SourceError: a file is missing or damaged.
    """
    try:
        with (folder / "labels.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        steering = np.array([float(row["steering"]) for row in rows])
        pictures = np.concatenate([_picture(folder / "IMG" / row["frame"]) for row in rows])
    except (OSError, KeyError, ValueError) as error:
        raise SourceError(
            f"is not a recorded drive: {error}",
            where=str(folder),
            hint="Give a folder with labels.csv (frame, steering) and IMG/.",
        ) from error
    window = np.hanning(SMOOTHING_FRAMES + 2)
    smooth = np.convolve(steering, window / window.sum(), "same")
    return torch.from_numpy(pictures), torch.from_numpy(smooth.astype(np.float32))


def _picture(path: Path) -> npt.NDArray[np.float32]:
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    return Preparation(FORMAT).picture(np.ascontiguousarray(pixels[ROAD]))
