"""The driving simulator's track as PilotNet takes it, with how a person steered."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from mquans.plan import InputFormat
from mquans.sources.preparation import Preparation

TRACK = "data/driving/udacity_track"
MODEL = "models/pilotnet/pilotnet.onnx"

ROAD = slice(60, 135)
"""Rows between sky and bonnet."""

FORMAT = InputFormat(name="x", width=200, height=66, color="yuv")
SMOOTHING_FRAMES = 29
"""Two seconds: a keyboard steers in jerks."""

Frames = npt.NDArray[np.float32]


def load_track(shared: Path, count: int | None = None) -> tuple[Frames, Frames]:
    """(frames [N, 3, 66, 200], smoothed steering [N]) of consecutive frames.

    The network was trained on pictures in BGR that were taken for RGB on their way to YUV.
    """
    folder = shared / TRACK
    with (folder / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))[:count]
    preparation = Preparation(FORMAT)
    frames = []
    for row in rows:
        with Image.open(folder / "IMG" / row["frame"]) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        frames.append(preparation.picture(np.ascontiguousarray(pixels[ROAD, :, ::-1]))[0])
    window = np.hanning(SMOOTHING_FRAMES)
    steering = np.array([float(row["steering"]) for row in rows])
    smooth = np.convolve(steering, window / window.sum(), "same")
    return np.stack(frames), smooth.astype(np.float32)
