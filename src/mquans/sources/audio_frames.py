"""Sound into network inputs, hop by hop, for any source of samples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from mquans.errors import FrameError, SourceError
from mquans.plan.audio import KALDI_FEATURES, AudioFormat
from mquans.plan.checks import problem_with
from mquans.sources.features import Values, new_extractor
from mquans.sources.frames import FirstFrame

Tensor = npt.NDArray[np.float32]

MOST_CHANNELS = 64
"""Of samples; more of them are samples and channels turned."""

PIECE_SAMPLES = 1 << 14
"""Read and prepared at once, whatever the length of a recording."""


class AudioFrames:
    """Inputs for a network from sound that comes in pieces of any length.

        frames = AudioFrames(plan.audio)
        for samples in microphone:              # 1-D, from -1 to 1, at plan.audio.rate
            for frame in frames.push(samples):
                outputs = stream.step({plan.audio.name: frame})

    A frame comes as soon as its last sample is there (with `context`, that of the last step behind
    it). How samples are cut into pieces does not change frames.

    Raises:
        SourceError: a format that cannot be applied.
        DependencyError: the format needs a package that is not installed.
    """

    def __init__(self, format: AudioFormat) -> None:
        if problem := problem_with(format):
            raise SourceError(problem, where="preparation of sound")
        self.format = format
        self._mean = np.asarray(format.mean, np.float64)
        self._std = np.asarray(format.std, np.float64)
        self.reset()

    def reset(self) -> None:
        """Forget what was heard; the next sample is the first of a recording."""
        self._extractor = new_extractor(self.format)
        self._stacking = _Stacking(self.format)
        self._framing = _Framing(self.format)

    def push(self, samples: npt.ArrayLike) -> list[Tensor]:
        """The frames that these samples complete.

        Args:
            samples: [n], or [n, channels], whose mean is taken: float from -1 to 1, or int16.

        Returns:
            Arrays of `format.shape`, newly allocated.

        Raises:
            FrameError: not samples, or NaN or infinite values among them; nothing was heard then.
        """
        heard = mono(samples)
        return self._frames(self._extractor.push(heard * self.format.gain), last=False)

    def finish(self) -> list[Tensor]:
        """The frames that the end of the recording completes; then a new one begins."""
        frames = self._frames(self._extractor.finish(), last=True)
        self.reset()
        return frames

    def _frames(self, features: Values, *, last: bool) -> list[Tensor]:
        normal = (features * self.format.scale - self._mean) / self._std
        steps = self._stacking.push(normal, last=last)
        return [self._tensor(block) for block in self._framing.push(steps, last=last)]

    def _tensor(self, block: Values) -> Tensor:
        ordered = block.T if self.format.layout == "ft" else block
        return np.ascontiguousarray(ordered, np.float32).reshape(self.format.shape)


def prepare_recordings(
    recordings: Iterable[npt.ArrayLike], format: AudioFormat
) -> Iterator[dict[str, Tensor]]:
    """Frames of one recording after the other, by input name; each begins with a `FirstFrame`.

    Args:
        recordings: samples of each, as `AudioFrames.push` takes them.
    """
    frames = AudioFrames(format)
    for samples in recordings:
        array = np.asarray(samples)
        pieces = (array[i : i + PIECE_SAMPLES] for i in range(0, len(array), PIECE_SAMPLES))
        for number, (frame, _) in enumerate(whole_recording(frames, pieces)):
            yield FirstFrame({format.name: frame}) if number == 0 else {format.name: frame}


def whole_recording(
    frames: AudioFrames, pieces: Iterable[npt.NDArray[Any]]
) -> Iterator[tuple[Tensor, float]]:
    """Frames of one recording from its first to its last sample, and their times."""
    frames.reset()
    number, heard = count(), 0
    for samples in pieces:
        heard += len(samples)
        for frame in frames.push(samples):
            yield frame, time_of(frames.format, next(number))
    for frame in frames.finish():
        yield frame, min(time_of(frames.format, next(number)), heard / frames.format.rate)


def time_of(format: AudioFormat, number: int) -> float:
    """Seconds from the beginning of a recording to behind the last sample of a frame, that of its
    `context` left aside."""
    step = format.steps - 1 + number * (format.advance or format.steps)
    silence = format.window - format.hop if format.pad else 0
    return (step * format.subsample * format.hop + format.window - silence) / format.rate


def count_frames(format: AudioFormat, samples: int) -> int:
    """How many frames a recording of so many samples gives."""
    if format.features in KALDI_FEATURES:
        heard = samples + (format.window - format.hop if format.pad else 0)
        windows = max(0, (heard - format.window) // format.hop + 1)
    else:
        windows = math.ceil(samples / format.hop)
    steps = math.ceil(windows / format.subsample)
    if format.whole or not steps:
        return min(steps, 1)
    return 1 + math.ceil(max(0, steps - format.steps) / (format.advance or format.steps))


class _Stacking:
    """Puts every step's neighbours beside it and takes every `subsample`-th."""

    def __init__(self, format: AudioFormat) -> None:
        self._before, self._behind = format.context
        self._every = format.subsample
        self._kept = np.empty((0, format.width))
        self._phase = 0
        self._begun = False

    def push(self, features: Values, *, last: bool) -> Values:
        """Steps [steps, width * (1 + neighbours)] from features [windows, width]."""
        rows = np.concatenate([self._kept, features])
        if len(rows) and not self._begun:
            self._begun = True
            rows = np.concatenate([rows[:1]] * self._before + [rows])
        if len(rows) and last:
            rows = np.concatenate([rows] + [rows[-1:]] * self._behind)
        span = 1 + self._before + self._behind
        count = max(0, len(rows) - span + 1) if self._begun else 0
        self._kept = rows[count:]
        if not count:
            return np.empty((0, rows.shape[1] * span))
        # [steps, width, span] -> [steps, span, width]: a neighbour's features stay together.
        stacked = sliding_window_view(rows, span, axis=0).transpose(0, 2, 1).reshape(count, -1)
        chosen = stacked[-self._phase % self._every :: self._every]
        self._phase = (self._phase + count) % self._every
        return np.asarray(chosen)


class _Framing:
    """Puts as many steps together as a frame holds."""

    def __init__(self, format: AudioFormat) -> None:
        self._steps = format.steps
        self._advance = format.advance or format.steps
        self._whole = format.whole
        self._kept = np.empty((0, format.step_width))
        self._new = 0  # of the kept steps, those that no frame has held

    def push(self, steps: Values, *, last: bool) -> Iterator[Values]:
        """Blocks [steps of a frame, width]."""
        self._kept = np.concatenate([self._kept, steps])
        self._new += len(steps)
        if self._whole:
            self._kept = self._kept[: self._steps]
        while not self._whole and len(self._kept) >= self._steps:
            yield self._kept[: self._steps]
            self._new = len(self._kept) - self._steps
            self._kept = self._kept[self._advance :]
        if last and self._new:
            yield np.pad(self._kept, ((0, self._steps - len(self._kept)), (0, 0)))


def mono(samples: npt.ArrayLike) -> Values:
    """Samples [n] from -1 to 1 of what sound cards and users have; see `AudioFrames.push`."""
    try:
        array: npt.NDArray[Any] = np.asarray(samples)
    except ValueError as error:  # nested lists of unequal lengths
        raise FrameError("the samples are no array.") from error
    if array.dtype == np.int16:
        array = array / 32768
    if (
        array.dtype.kind != "f"
        or array.ndim not in (1, 2)
        or (array.ndim == 2 and not 1 <= array.shape[1] <= MOST_CHANNELS)
    ):
        raise FrameError(
            f"samples must be float from -1 to 1, or int16, in an array [n] or [n, channels] of up "
            f"to {MOST_CHANNELS} channels, not {array.dtype} {list(array.shape)}."
        )
    mixed = array.astype(np.float64) if array.ndim == 1 else array.mean(axis=1, dtype=np.float64)
    if not np.isfinite(mixed).all():
        raise FrameError("there are NaN or infinite values among the samples.")
    return mixed
