"""C3D on windows of clips of gestures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from mquans.errors import SourceError
from mquans.plan import InputFormat
from mquans.sources import open_source
from mquans.sources.frames import feeds_of
from mquans_studies.zoo.networks import C3d
from mquans_studies.zoo.training import Labelled, Task

FORMAT = InputFormat(name="clip", width=112, height=112, scale=1 / 255)
LENGTH = 16
TRAINED, TESTED = 0.6, 0.66
"""Shares of every clip: windows end before the first, and begin at the second."""

STRIDE = 2
"""Between windows of a stream."""

BATCH = 8
SUFFIXES = (".mkv", ".mp4", ".avi", ".mov")


class Gestures(Task):
    """The class of a window of 16 pictures is the clip it was cut from.

    A weak task: one clip per class, one signer, the beginning of every clip to learn from and its
    end to test on. A network may recognise the clip by posture rather than by movement.
    """

    steps = 320
    learning_rate = 1e-3
    outputs = ("scores",)

    def __init__(self, folder: Path, *, seed: int, width: int = 8) -> None:
        paths = sorted(path for path in folder.glob("*") if path.suffix in SUFFIXES)
        if len(paths) < 2:
            raise SourceError("holds no clips to tell apart.", where=str(folder))
        clips = [read_clip(path) for path in paths]
        self._train = [clip[:, : int(TRAINED * clip.shape[1])] for clip in clips]
        self._test = [clip[:, int(TESTED * clip.shape[1]) :] for clip in clips]
        mean = torch.stack([part.mean(1, keepdim=True) for part in self._train]).mean(0)
        std = torch.cat([(part - mean).flatten() for part in self._train]).std()
        self._train = [(part - mean) / std for part in self._train]
        self._test = [(part - mean) / std for part in self._test]
        if min(part.shape[1] for part in self._train + self._test) < LENGTH:
            raise SourceError("has a clip too short to split.", where=str(folder))
        self._rng = np.random.default_rng(seed)
        # 3-D convolutions take less time with channels last.
        self.network = C3d(len(clips), width=width, dropout=0.3).to(
            memory_format=torch.channels_last_3d
        )
        self.inputs = {"clip": self._test[0][None, :, :LENGTH]}
        self.notes = {
            "split": f"by time: windows from the first {TRAINED:.0%} of every clip train, "
            f"from {TESTED:.0%} on test",
            "labels": "the clip: one signer, one clip per class, so a weak task",
            "classes": [path.stem for path in paths],
            "input": "16 pictures of 112x112 in RGB, less the mean picture of the training, "
            "over the deviation from it",
            "departure": f"{width} channels in the first layer instead of 64, others in proportion",
        }

    def loss(self, progress: float) -> Any:
        """Cross entropy."""
        wanted = self._rng.integers(len(self._train), size=BATCH)
        windows = []
        for number in wanted:
            clip = self._train[number]
            begin = self._rng.integers(clip.shape[1] - LENGTH + 1)
            windows.append(self._varied(clip[:, begin : begin + LENGTH]))
        return cross_entropy(self.network(torch.stack(windows)), torch.from_numpy(wanted))

    def accuracy(self) -> dict[str, float]:
        """Share of windows whose class is right."""
        stream = self.held_out()
        windows = torch.from_numpy(stream.frames[:, 0])
        found = torch.cat([self.network(part).argmax(-1) for part in windows.split(BATCH)])
        return {"top1": float((found == torch.tensor(stream.labels)).float().mean())}

    def held_out(self) -> Labelled:
        return _windows(self._test)

    def calibration(self) -> Labelled:
        """Of the clips' parts that were trained on."""
        return _windows(self._train)

    def _varied(self, window: Any) -> Any:
        """Moved by up to 6 pixels, paler or stronger."""
        down, right = self._rng.integers(-6, 7, size=2)
        gain = self._rng.uniform(0.8, 1.2)
        return window.roll((int(down), int(right)), (-2, -1)) * gain


def _windows(clips: Sequence[Any]) -> Labelled:
    """Windows clip after clip, each a few pictures after the one before."""
    windows, labels = [], []
    for number, clip in enumerate(clips):
        for begin in range(0, clip.shape[1] - LENGTH + 1, STRIDE):
            windows.append(clip[:, begin : begin + LENGTH].numpy())
            labels.append(number)
    return Labelled(np.stack(windows)[:, None], labels, [str(label) for label in labels])


def read_clip(path: Path) -> Any:
    """[3, pictures, 112, 112].

    Raises:
        SourceError: it cannot be read.
    """
    with open_source(path, FORMAT) as clip:
        pictures = [feeds_of(frame, [FORMAT.name])[FORMAT.name] for frame in clip]
    return torch.from_numpy(np.concatenate(pictures)).transpose(0, 1).contiguous()
