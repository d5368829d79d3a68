"""The acoustic MLP: phone states of spoken digits, frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from msgspec import to_builtins
from msgspec.structs import replace
from torch.nn.functional import cross_entropy

from mquans_studies.zoo.alignment import Alignment, align
from mquans_studies.zoo.networks import AcousticMlp
from mquans_studies.zoo.speech import (
    HOP,
    MELS,
    RATE,
    WINDOW,
    at_speeds,
    features,
    log_mel_format,
    read_noise,
    read_recordings,
    split,
    split_said,
    varied,
)
from mquans_studies.zoo.splicing import Spliced, Splicer, blocks_of, recording_of
from mquans_studies.zoo.training import Labelled, Task

CONTEXT = 5
"""Frames on either side of the one that is classified."""

WIDTH = (2 * CONTEXT + 1) * MELS
FRAMES = 240
"""Hops of a string."""

DIGITS = 4
TRAIN_STRINGS, TEST_STRINGS, CALIBRATION_STRINGS = 1600, 100, 50
TRAIN_SNR, TEST_SNR = (10.0, 30.0), (20.0, 20.0)
SPEEDS = (0.85, 1.0, 1.15)
BATCH = 512


class Phones(Task):
    """Strings of digits over household noise as one recording."""

    steps = 600
    learning_rate = 1e-3
    outputs = ("scores",)

    def __init__(self, folder: Path, *, seed: int, held_out: Sequence[str]) -> None:
        recordings = read_recordings(folder)
        alignment = align(recordings)
        aligned = [r for r in recordings if r.name in alignment.states]
        train, for_plans, judging = split(aligned, held_out)
        noise = read_noise(folder, begin=0, end=0.7)
        splicer = Splicer(at_speeds(train, SPEEDS), noise, snr=TRAIN_SNR, seed=seed)
        strings = [splicer.string(DIGITS, FRAMES) for _ in range(TRAIN_STRINGS)]
        self._format = log_mel_format(
            "window", (1, WIDTH), context=(CONTEXT, CONTEXT), like=recording_of(strings)
        )
        frame = replace(self._format, shape=(1, MELS), context=(0, 0))
        self._frames = features(recording_of(strings), frame)
        self._states = states_of(strings, alignment)[: len(self._frames)]
        splicer = Splicer(
            judging, read_noise(folder, begin=0.8, end=1), snr=TEST_SNR, seed=seed + 1
        )
        strings = [splicer.string(DIGITS, FRAMES) for _ in range(TEST_STRINGS)]
        self._test = self._labelled(strings, alignment)
        noise = read_noise(folder, begin=0.7, end=0.8)
        splicer = Splicer(for_plans, noise, snr=TEST_SNR, seed=seed + 3)
        strings = [splicer.string(DIGITS, FRAMES) for _ in range(CALIBRATION_STRINGS)]
        self._calibration = self._labelled(strings, alignment)
        self._rng = np.random.default_rng(seed + 2)
        self.network = AcousticMlp(len(alignment.names))
        self.inputs = {"window": torch.zeros(1, WIDTH)}
        self.notes = {
            "split": split_said(held_out),
            "labels": f"phone states by {alignment.method}; "
            f"{len(aligned)} of {len(recordings)} recordings align",
            "states": alignment.names,
            "audio": to_builtins(self._format),
            "snr_db": {"train": TRAIN_SNR, "test": TEST_SNR},
            "departure": "ReLU for p-norm, no LDA",
        }

    def loss(self, progress: float) -> Any:
        """Cross entropy."""
        chosen = self._rng.integers(CONTEXT, len(self._frames) - CONTEXT, size=BATCH)
        around = chosen[:, None] + np.arange(-CONTEXT, CONTEXT + 1)
        windows = varied(self._frames[around].reshape(BATCH, -1), self._rng)
        scores = self.network(torch.from_numpy(windows))
        return cross_entropy(scores, torch.from_numpy(self._states[chosen]))

    def accuracy(self) -> dict[str, float]:
        """Share of right frames: of all, and of those that are not silence."""
        windows = torch.from_numpy(self._test.frames[:, 0])
        found = torch.cat([self.network(part).argmax(-1) for part in windows.split(BATCH)])
        wanted = torch.tensor(self._test.labels)
        right = (found == wanted).float()
        return {
            "frame_accuracy": float(right.mean()),
            "frame_accuracy_of_speech": float(right[wanted > 0].mean()),
        }

    def held_out(self) -> Labelled:
        """The test strings as one recording."""
        return self._test

    def calibration(self) -> Labelled:
        """Strings of other recordings of the held-out speakers, as one recording."""
        return self._calibration

    def _labelled(self, strings: Sequence[Spliced], alignment: Alignment) -> Labelled:
        frames = features(recording_of(strings), self._format)
        blocks = np.repeat(blocks_of(strings), FRAMES)[: len(frames)]
        states = states_of(strings, alignment)[: len(frames)]
        return Labelled(frames[:, None], states.tolist(), blocks.tolist())


def states_of(strings: Sequence[Spliced], alignment: Alignment) -> npt.NDArray[np.int64]:
    """Number of the state at the middle of every feature frame of strings one after the other; 0,
    silence, between digits."""
    numbers = {name: number for number, name in enumerate(alignment.names)}
    states = np.zeros(sum(len(string.samples) for string in strings) // HOP, np.int64)
    middles = (np.arange(len(states)) * HOP + WINDOW / 2) / RATE
    start = 0.0
    for string in strings:
        for span in string.spans:
            begin, end = start + span.begin / RATE, start + span.end / RATE
            for state in alignment.states[span.recording.name]:
                first = max(begin + state.begin / span.recording.speed, begin)
                last = min(begin + state.end / span.recording.speed, end)
                frames = slice(*np.searchsorted(middles, (first, last)))
                states[frames] = numbers[state.name]
        start += len(string.samples) / RATE
    return states
