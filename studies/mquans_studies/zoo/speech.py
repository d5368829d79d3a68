"""Spoken digits: recordings by speaker, household noise, and log-mel features.

The folder is laid out as the Free Spoken Digit Dataset (Jakobovski/free-spoken-digit-dataset):
`fsdd/recordings/DIGIT_SPEAKER_NUMBER.wav` at 8 kHz; beside it `noise/*.wav` at any rate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from mquans.errors import SourceError
from mquans.plan import AudioFormat
from mquans.sources import AudioFrames, read_sound

Signal = npt.NDArray[np.float32]
"""Samples, about -1 to 1."""

RATE = 8000
HOP = 80
WINDOW = 200
MELS = 40
LEVEL = 0.05
"""Root mean square that every recording is scaled to."""

TILTS = (0.4, 0.4, 0.3, 0.2)
"""Deviation of level, slope and two finer cosines of the curve that `varied` adds."""

MASKED = 6

BY_TAKE = "takes"
"""In place of speakers that are held out: all are heard in training, and recordings are held out,
a tenth of each voice's to judge by and a tenth to make plans from, as the data set's authors
do."""

TENTH = 10

CALIBRATION_TAKES = 3
"""Of the held-out speakers' recordings of a digit, every third is to make plans from, so that plans
are made for the voice that they run on, as a user makes them, and judged on recordings they have
not seen."""


@dataclass(frozen=True, slots=True)
class Recording:
    """One spoken digit.

    Attributes:
        name: of its file, without suffix.
        speed: how much faster than recorded; pitch and formants move with it, so that one speaker
            stands for several.
    """

    name: str
    digit: int
    speaker: str
    samples: Signal
    speed: float = 1.0


def read_recordings(folder: Path) -> list[Recording]:
    """All digits below `fsdd/recordings`, by file name, at one level.

    Raises:
        SourceError: there are none, or one cannot be read.
        DependencyError: the extra `audio` is not installed.
    """
    recordings = []
    for path in sorted((folder / "fsdd" / "recordings").glob("?_*_*.wav")):
        digit, speaker, _ = path.stem.split("_")
        samples = _at_level(read_sound(path, RATE)[0])
        recordings.append(Recording(path.stem, int(digit), speaker, samples))
    if not recordings:
        raise SourceError(
            "holds no spoken digits.",
            where=str(folder),
            hint="Give a folder with fsdd/recordings/DIGIT_SPEAKER_NUMBER.wav.",
        )
    return recordings


def split(
    recordings: Sequence[Recording], held_out: Sequence[str]
) -> tuple[list[Recording], list[Recording], list[Recording]]:
    """(those to train on, those to make plans from, those to judge by).

    Args:
        held_out: speakers that are not trained on, or `BY_TAKE`.

    Raises:
        SourceError: one of the three is empty.
    """
    if BY_TAKE not in held_out:
        train, test = split_speakers(recordings, held_out)
        return train, *split_takes(test)
    parts: tuple[list[Recording], list[Recording], list[Recording]] = ([], [], [])
    for recording, take in _with_takes(recordings):
        parts[{0: 2, 1: 1}.get(take % TENTH, 0)].append(recording)
    if not all(parts):
        raise SourceError(
            "too few recordings of each digit to hold some out.",
            hint="Hold out a speaker instead: --held-out NAME.",
        )
    return parts


def split_said(held_out: Sequence[str]) -> str:
    """The split, for cards."""
    if BY_TAKE in held_out:
        return "by recording: a tenth of each speaker's held out; noise by time"
    return f"by speaker: {', '.join(held_out)} held out; noise by time"


def split_speakers(
    recordings: Sequence[Recording], held_out: Sequence[str]
) -> tuple[list[Recording], list[Recording]]:
    """(those of other speakers, those of the held-out ones).

    Raises:
        SourceError: one of the two is empty.
    """
    test = [recording for recording in recordings if recording.speaker in held_out]
    train = [recording for recording in recordings if recording.speaker not in held_out]
    if not train or not test:
        speakers = ", ".join(sorted({recording.speaker for recording in recordings}))
        raise SourceError(
            f"speakers are {speakers}; held out are {', '.join(held_out)}.",
            hint="Hold out at least one of them, and not all.",
        )
    return train, test


def split_takes(recordings: Sequence[Recording]) -> tuple[list[Recording], list[Recording]]:
    """(those to make plans from, those to judge by), of every digit of every speaker."""
    parts: tuple[list[Recording], list[Recording]] = ([], [])
    for recording, take in _with_takes(recordings):
        parts[take % CALIBRATION_TAKES > 0].append(recording)
    return parts


def _with_takes(recordings: Iterable[Recording]) -> Iterator[tuple[Recording, int]]:
    """Every recording, and how many of its digit by its speaker stand before it."""
    takes = Counter[tuple[str, int]]()
    for recording in recordings:
        voice = (recording.speaker, recording.digit)
        yield recording, takes[voice]
        takes[voice] += 1


def at_speeds(recordings: Sequence[Recording], speeds: Sequence[float]) -> list[Recording]:
    """Every recording at every speed."""
    return [
        Recording(
            r.name, r.digit, r.speaker, resample(r.samples, RATE * speed, RATE), speed
        )
        for r in recordings
        for speed in speeds
    ]  # fmt: skip


def read_noise(folder: Path, *, begin: float, end: float) -> list[Signal]:
    """That part of every recording below `noise`, as shares of its length.

    Raises:
        SourceError: there are none, or one cannot be read.
    """
    paths = sorted((folder / "noise").glob("*.wav"))
    if not paths:
        raise SourceError("holds no noise/*.wav.", where=str(folder))
    signals = [_at_level(read_sound(path, RATE)[0]) for path in paths]
    return [s[int(begin * len(s)) : int(end * len(s))] for s in signals]


def resample(samples: Signal, rate: float, wanted: float) -> Signal:
    """The same sound at another rate."""
    import soxr

    return samples if rate == wanted else np.asarray(soxr.resample(samples, rate, wanted))


def log_mel_format(
    name: str,
    shape: tuple[int, ...],
    *,
    context: tuple[int, int] = (0, 0),
    subsample: int = 1,
    whole: bool = False,
    like: Signal | None = None,
) -> AudioFormat:
    """40 mel filters as Kaldi has them, windows of 25 ms every 10 ms.

    Args:
        like: samples whose features the format normalises to mean 0 and deviation 1.
    """
    format = AudioFormat(
        name=name, shape=shape, rate=RATE, features="fbank", window=WINDOW, hop=HOP, fft=256,
        function="povey", gain=32768.0, bins=MELS, low=20.0, context=context, subsample=subsample,
        whole=whole,
    )  # fmt: skip
    if like is None:
        return format
    plain = features(like, log_mel_format(name, (1, MELS)))
    return replace(format, mean=tuple(plain.mean(0).tolist()), std=tuple(plain.std(0).tolist()))


def features(samples: Signal, format: AudioFormat) -> npt.NDArray[np.float32]:
    """All frames of a recording, one behind the other along their first axis."""
    frames = AudioFrames(format)
    return np.concatenate([*frames.push(samples), *frames.finish()])


def varied(
    frames: npt.NDArray[np.float32], generator: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Normalised features as if heard through another microphone, with two bands missing.

    A smooth random curve over the 40 mel bands is added, the same at all times (a filter, in log
    energies), and up to `MASKED` neighbouring bands are set to their mean (SpecAugment, Park et al.
    2019). With few speakers, a network else learns their microphones.

    Args:
        frames: [..., n * 40], n frames side by side.
    """
    curves = np.cos(np.pi * np.outer(np.arange(len(TILTS)), np.arange(MELS) + 0.5) / MELS)
    bands = frames.reshape(*frames.shape[:-1], -1, MELS)
    heard = bands + (generator.normal(0, TILTS) @ curves).astype(np.float32)
    for _ in range(2):
        first = generator.integers(MELS)
        heard[..., first : first + generator.integers(MASKED + 1)] = 0
    return heard.reshape(frames.shape)


def _at_level(samples: Signal) -> Signal:
    return samples * np.float32(LEVEL / max(float(np.sqrt(np.mean(samples**2))), 1e-6))
