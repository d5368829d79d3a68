"""CTC networks on strings of spoken digits: the bidirectional LSTM and the streaming GRU."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from msgspec import to_builtins
from msgspec.structs import replace
from torch.nn.functional import cross_entropy, ctc_loss

from mquans.metrics.speech import edit_distance, greedy_ctc
from mquans_studies.zoo.networks import Eesen, StreamingGru
from mquans_studies.zoo.speech import (
    HOP,
    MELS,
    at_speeds,
    features,
    log_mel_format,
    read_noise,
    read_recordings,
    split,
    split_said,
    varied,
)
from mquans_studies.zoo.splicing import Spliced, Splicer, blocks_of, emission_targets, recording_of
from mquans_studies.zoo.training import Labelled, Task

STACKED = 3
"""Feature frames per step of the network."""

TEST_STEPS, TEST_DIGITS = 96, 4
TEST_STRINGS, CALIBRATION_STRINGS = 500, 100
TRAIN_SNR, TEST_SNR = (10.0, 30.0), (20.0, 20.0)
SPEEDS = (0.8, 0.87, 0.93, 1.0, 1.07, 1.15, 1.25)
NORMALISED_BY = 100
"""Strings that mean and deviation of the features are taken from."""

PLACED = (0.45, 0.55)
"""Shares of the training up to which only the places of digits are learned, and from which on only
CTC, which from scratch is stuck with blanks for long."""

BLANK_WEIGHT = 0.2
"""Of steps without a digit while places are learned: most steps are."""

JOINED = (0.13, 0.2, 0.27, 0.34)
"""Shares of the training at which the second to the fifth layer of EESEN join."""

SYMBOLS = ("", *(f"{digit} " for digit in range(10)))


class Strings(Task):
    """Strings of digits of one speaker each over household noise.

    Attributes:
        lanes: strings trained on at once; each lane is one endless recording.
        length: of these, in steps of the network.
        digits: fewest and most in a string.
    """

    outputs: Sequence[str] = ("scores",)
    lanes: int
    length: int
    digits: tuple[int, int]

    def __init__(self, network: Any, folder: Path, *, seed: int, held_out: Sequence[str]) -> None:
        train, for_plans, judging = split(read_recordings(folder), held_out)
        noise = read_noise(folder, begin=0, end=0.7)
        self._splicer = Splicer(at_speeds(train, SPEEDS), noise, snr=TRAIN_SNR, seed=seed)
        self._rng = np.random.default_rng(seed)
        sample = recording_of(self._string() for _ in range(NORMALISED_BY))
        self._format = log_mel_format(
            "features",
            (1, 1, STACKED * MELS),
            context=(0, STACKED - 1),
            subsample=STACKED,
            like=sample,
        )
        splicer = Splicer(
            judging, read_noise(folder, begin=0.8, end=1), snr=TEST_SNR, seed=seed + 1
        )
        self._test = _test_strings(splicer, TEST_STRINGS)
        noise = read_noise(folder, begin=0.7, end=0.8)
        splicer = Splicer(for_plans, noise, snr=TEST_SNR, seed=seed + 2)
        self._calibration = _test_strings(splicer, CALIBRATION_STRINGS)
        self.network = network
        self.notes = {
            "split": split_said(held_out),
            "labels": f"the digits of each string of {TEST_STEPS} steps; class 0 is the blank",
            "symbols": SYMBOLS,
            "snr_db": {"train": TRAIN_SNR, "test": TEST_SNR},
        }

    @abstractmethod
    def run(self, features: Any, progress: float) -> Any:
        """Scores [T, N, classes] of features [T, N, 120] in training."""

    def loss(self, progress: float) -> Any:
        """CTC per digit; in the beginning, the cross entropy of where digits are."""
        strings = [self._string() for _ in range(self.lanes)]
        lanes = [varied(features(string.samples, self._format), self._rng) for string in strings]
        scores = self.run(torch.from_numpy(np.concatenate(lanes, axis=1)), progress)
        scores = scores.log_softmax(-1)
        digits = [digit + 1 for string in strings for digit in string.digits]
        lengths = torch.tensor([len(string.digits) for string in strings])
        steps = torch.full((self.lanes,), self.length)
        written = ctc_loss(scores, torch.tensor(digits), steps, lengths, zero_infinity=True)
        hop = HOP * STACKED
        places = [emission_targets(string, self.length, hop=hop) for string in strings]
        weight = torch.ones(scores.shape[-1])
        weight[0] = BLANK_WEIGHT
        targets = torch.from_numpy(np.stack(places, 1).ravel())
        placed = cross_entropy(scores.flatten(0, 1), targets, weight)
        only, never = PLACED
        share = min(1.0, max(0.0, (never - progress) / (never - only)))
        return share * placed + (1 - share) * written

    def accuracy(self) -> dict[str, float]:
        """Word error rate of greedily decoded strings."""
        errors = words = 0
        for string, classes in zip(self._test, self.decoded(), strict=True):
            found = [token - 1 for token in greedy_ctc(classes)]
            errors += edit_distance(string.digits, found)
            words += len(string.digits)
        return {"word_error_rate": errors / words}

    @abstractmethod
    def decoded(self) -> Iterable[Sequence[int]]:
        """Best class of every step of every test string."""

    @abstractmethod
    def labelled(self, strings: Sequence[Spliced]) -> Labelled:
        """Strings as a stream."""

    def held_out(self) -> Labelled:
        return self.labelled(self._test)

    def calibration(self) -> Labelled:
        """Other recordings of the held-out speakers."""
        return self.labelled(self._calibration)

    def _string(self) -> Spliced:
        digits = int(self._rng.integers(*self.digits, endpoint=True))
        return self._splicer.string(digits, self.length * STACKED)


def _test_strings(splicer: Splicer, count: int) -> list[Spliced]:
    return [splicer.string(TEST_DIGITS, TEST_STEPS * STACKED) for _ in range(count)]


def _text(string: Spliced) -> str:
    return " ".join(map(str, string.digits))


class WholeStrings(Strings):
    """The bidirectional LSTM: a string per call. Layers join the training one by one, as Kaldi's
    do: five at once learn nothing for long, and the first are cheap."""

    steps = 900
    learning_rate = 2e-3
    lanes = 24
    length = 40
    digits = (1, 2)

    def __init__(self, folder: Path, *, seed: int, held_out: Sequence[str]) -> None:
        super().__init__(Eesen(len(SYMBOLS)), folder, seed=seed, held_out=held_out)
        shape = (TEST_STEPS, 1, STACKED * MELS)
        self._whole = replace(self._format, shape=shape, whole=True)
        self.inputs = {"features": torch.zeros(shape)}
        self.notes = {**self.notes, "audio": to_builtins(self._whole)}

    def run(self, features: Any, progress: float) -> Any:
        return self.network(features, 1 + sum(progress >= joined for joined in JOINED))

    def decoded(self) -> list[list[int]]:
        frames = torch.from_numpy(self.held_out().frames)
        found = [self.network(part[:, :, 0].transpose(0, 1)) for part in frames.split(25)]
        best: list[list[int]] = torch.cat(found, dim=1).argmax(-1).T.tolist()
        return best

    def labelled(self, strings: Sequence[Spliced]) -> Labelled:
        """One string per frame."""
        frames = [features(string.samples, self._whole) for string in strings]
        return Labelled(np.stack(frames), [_text(string) for string in strings], blocks_of(strings))


class StreamedStrings(Strings):
    """The GRU: a step per call, its state an input and an output. The test strings follow each
    other as one recording, and the state is never reset."""

    steps = 400
    learning_rate = 1e-3
    outputs = ("scores", "h_out")
    lanes = 16
    length = 80
    digits = (2, 5)

    def __init__(self, folder: Path, *, seed: int, held_out: Sequence[str]) -> None:
        super().__init__(StreamingGru(len(SYMBOLS)), folder, seed=seed, held_out=held_out)
        self._state = self.network.start(self.lanes)
        self.inputs = {
            "features": torch.zeros(1, 1, STACKED * MELS), "h": self.network.start(),
        }  # fmt: skip
        self.notes = {
            **self.notes, "feedback": {"h": "h_out"}, "audio": to_builtins(self._format),
        }  # fmt: skip

    def run(self, features: Any, progress: float) -> Any:
        scores, state = self.network(features, self._state)
        self._state = state.detach()
        return scores

    def decoded(self) -> list[list[int]]:
        state, found = self.network.start(), []
        frames = torch.from_numpy(self.held_out().frames[:, 0])
        for string in frames.split(TEST_STEPS):
            scores, state = self.network(string, state)
            found.append(scores[:, 0].argmax(-1).tolist())
        return found

    def labelled(self, strings: Sequence[Spliced]) -> Labelled:
        """One step per frame, the strings as one recording; the text of a string stands at its
        last step."""
        frames = features(recording_of(strings), self._format)
        labels = [
            _text(string) if step == TEST_STEPS - 1 else None
            for string in strings
            for step in range(TEST_STEPS)
        ]
        blocks = np.repeat(blocks_of(strings), TEST_STEPS)
        return Labelled(frames[:, None], labels, blocks.tolist())
