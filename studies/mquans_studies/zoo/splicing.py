"""Digits spliced into strings over household noise: what was said, and when, is known by
construction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mquans.errors import SourceError
from mquans_studies.zoo.speech import HOP, Recording, Signal

TRIES = 200
HISS = 1e-4
"""Root mean square."""


@dataclass(frozen=True, slots=True)
class Span:
    """A recording and the sample that it begins at."""

    recording: Recording
    begin: int

    @property
    def end(self) -> int:
        return self.begin + len(self.recording.samples)


@dataclass(frozen=True, slots=True)
class Spliced:
    """A recording made of others."""

    samples: Signal
    spans: tuple[Span, ...]

    @property
    def digits(self) -> list[int]:
        return [span.recording.digit for span in self.spans]


class Splicer:
    """Makes strings of digits of a given length.

    Args:
        recordings: to draw from, each string with one speaker.
        noise: to lay under them, at the recordings' level before it is lowered.
        snr: bounds of the ratio of speech to noise, dB; drawn per string.
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        noise: Sequence[Signal],
        *,
        snr: tuple[float, float],
        seed: int,
    ) -> None:
        self._by_speaker: dict[tuple[str, float], list[Recording]] = {}
        for recording in recordings:
            voice = (recording.speaker, recording.speed)
            self._by_speaker.setdefault(voice, []).append(recording)
        self._voices = sorted(self._by_speaker)
        self._noise = noise
        self._snr = snr
        self._rng = np.random.default_rng(seed)

    def string(self, digits: int, frames: int) -> Spliced:
        """A string as long as `frames` hops.

        Raises:
            SourceError: so many digits do not fit.
        """
        length = frames * HOP
        rng = self._rng
        for _ in range(TRIES):
            voice = self._by_speaker[self._voices[rng.integers(len(self._voices))]]
            chosen = [voice[i] for i in rng.integers(len(voice), size=digits)]
            room = length - sum(len(recording.samples) for recording in chosen)
            if room >= 0:
                break
        else:
            raise SourceError(f"{digits} digits do not fit into {frames} frames.")
        gaps = (rng.dirichlet(np.full(digits + 1, 2.0)) * room).astype(int)
        samples = self._background(length)
        spans = []
        position = 0
        for recording, gap in zip(chosen, gaps, strict=False):
            position += int(gap)
            spans.append(Span(recording, position))
            samples[position : spans[-1].end] += recording.samples
            position = spans[-1].end
        return Spliced(samples, tuple(spans))

    def _background(self, length: int) -> Signal:
        noise = self._noise[int(self._rng.integers(len(self._noise)))]
        begin = self._rng.integers(len(noise))
        ratio = self._rng.uniform(*self._snr)
        # A faint hiss, as every microphone has: digital silence would stretch the features' range.
        hiss = self._rng.normal(0, HISS, length)
        # From its end on, it begins anew.
        around = noise.take(np.arange(begin, begin + length), mode="wrap")
        return np.asarray(around * 10 ** (-ratio / 20) + hiss, np.float32)


def recording_of(strings: Iterable[Spliced]) -> Signal:
    """Strings one after the other."""
    return np.concatenate([string.samples for string in strings])


def blocks_of(strings: Sequence[Spliced]) -> list[str]:
    """The speaker of every string; where there is one only, numbers of strings."""
    speakers = [string.spans[0].recording.speaker for string in strings]
    several = len(set(speakers)) > 1
    return speakers if several else [str(number) for number in range(len(strings))]


def emission_targets(spliced: Spliced, steps: int, *, hop: int) -> npt.NDArray[np.int64]:
    """The class of every step if each digit is written during its last third, and blank else.

    A network that learns these first learns CTC in a fraction of the time.

    Args:
        hop: samples per step.
    """
    targets = np.zeros(steps, np.int64)
    for span in spliced.spans:
        begin = span.begin + 2 * len(span.recording.samples) // 3
        targets[begin // hop : max(begin // hop + 1, span.end // hop)] = span.recording.digit + 1
    return targets
