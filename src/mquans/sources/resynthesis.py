"""Spectra out of sound, and sound out of spectra: what speech enhancement needs around a network
that gives gains or clean windows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import numpy.typing as npt

from mquans.errors import FrameError, MquansError, SourceError
from mquans.plan.audio import KALDI_FEATURES, AudioFormat
from mquans.sources.audio_frames import AudioFrames, Tensor, mono
from mquans.sources.features import Values, Windows, window_function

Spectrum = npt.NDArray[np.complex128]

FAINT = 1e-8
"""Sums of windows below this are where nothing was heard; nothing is divided by them."""


def spectra(samples: Values, format: AudioFormat) -> Spectrum:
    """Complex spectra [windows, bins] of a whole recording [n], of the same windows that
    `AudioFrames` takes its features of."""
    windows = Windows(format)
    whole = np.concatenate([windows.push(np.asarray(samples, np.float64)), windows.finish()])
    return np.asarray(np.fft.rfft(whole, format.fft or format.window))


def masked(
    window: npt.ArrayLike, gains: npt.ArrayLike, format: AudioFormat, *, least: float = 0.0
) -> Values:
    """A window with gains on its spectrum.

    Args:
        window: samples, already multiplied by the window function.
        gains: one per bin, in any shape; limited to `least` to 1.

    Raises:
        FrameError: there is another number of gains.
    """
    size = format.fft or format.window
    factors = np.clip(np.asarray(gains, np.float64).reshape(-1), least, 1.0)
    if len(factors) != size // 2 + 1:
        raise FrameError(
            f"there are {len(factors)} gains, but a spectrum of {size} samples has "
            f"{size // 2 + 1} bins."
        )
    return np.asarray(np.fft.irfft(np.fft.rfft(np.asarray(window), size) * factors, size))


class OverlapAdd:
    """Sound from overlapping windows, hop by hop (Allen and Rabiner 1977).

        overlap = OverlapAdd(plan.audio)
        for window, gains in ...:
            play(overlap.add(masked(window, gains, plan.audio)))
        play(overlap.finish())

    What comes out begins with the recording's first sample, each hop as soon as its last window is
    there, and ends at most a window behind its last.

    Args:
        format: whose windows were taken.
        synthesis: `window`: every window is multiplied by the analysis window once more and sums
            are divided by what both add up to, so that unchanged windows give the recording back;
            `sum`: windows are added up as they are, as networks expect that learned the synthesis
            (the second stage of DTLN).

    Raises:
        MquansError: there is no such synthesis.
    """

    def __init__(
        self, format: AudioFormat, *, synthesis: Literal["window", "sum"] = "window"
    ) -> None:
        if synthesis not in ("window", "sum"):
            raise MquansError(f"the synthesis must be window or sum, not {synthesis!r}.")
        self._window, self._hop = format.window, format.hop
        self._function = np.ones(self._window)
        self._weights = np.ones(self._window)
        if synthesis == "window":
            self._function = window_function(format)
            self._weights = self._function**2
        self._divides = synthesis == "window"
        self._silence = format.window - format.hop if format.pad else 0
        self.reset()

    def reset(self) -> None:
        """Begin a new recording."""
        self._sums = np.zeros(self._window)
        self._weight_sums = np.zeros(self._window)
        self._drop = self._silence
        self._added = 0

    def add(self, window: npt.ArrayLike) -> Values:
        """The samples that no later window reaches.

        Args:
            window: float [window], or longer (a transform's zeros behind it are left out).

        Raises:
            FrameError: it is shorter.
        """
        values = np.asarray(window, np.float64).reshape(-1)
        if len(values) < self._window:
            raise FrameError(f"a window has {self._window} samples, not {len(values)}.")
        self._sums += values[: self._window] * self._function
        self._weight_sums += self._weights
        self._added += 1
        return self._take(self._hop)

    def finish(self) -> Values:
        """The samples behind the last hop; a new recording begins."""
        rest = self._take(self._window - self._hop if self._added else 0)
        self.reset()
        return rest

    def _take(self, count: int) -> Values:
        done = self._sums[:count]
        if self._divides:
            weights = self._weight_sums[:count]
            heard = weights > FAINT
            done = np.where(heard, done / np.where(heard, weights, 1.0), 0.0)
        self._sums = np.concatenate([self._sums[count:], np.zeros(count)])
        self._weight_sums = np.concatenate([self._weight_sums[count:], np.zeros(count)])
        dropped = min(self._drop, len(done))
        self._drop -= dropped
        return np.array(done[dropped:])


def resynthesise(masked: Spectrum, format: AudioFormat, length: int) -> Values:
    """A recording of `length` samples from its spectra [windows, bins], for instance
    `spectra(noisy, format) * gains`."""
    overlap = OverlapAdd(format)
    pieces = [overlap.add(row) for row in np.fft.irfft(masked, format.fft or format.window)]
    whole = np.concatenate([*pieces, overlap.finish()])
    return whole[:length]


class SpectralGains:
    """Sound with a network's gains applied to its spectrum, hop by hop.

        with session.stream() as stream:
            denoise = SpectralGains(audio, lambda x: stream.step({audio.name: x})["output"])
            for samples in microphone:
                play(denoise.push(samples))

    What comes out lies a window behind what went in.

    Args:
        format: of the network's input, one window per frame.
        gains: a frame to its gains, [..., bins].
        least: smaller gains are raised to it; above 1 they are lowered.

    Raises:
        SourceError: a frame of this format is not one window.
    """

    def __init__(
        self,
        format: AudioFormat,
        gains: Callable[[Tensor], npt.ArrayLike],
        *,
        least: float = 0.0,
    ) -> None:
        windows = format.steps * (1 + sum(format.context)) * format.subsample
        if windows != 1 or format.whole or format.features in KALDI_FEATURES:
            raise SourceError("gains need frames of one window each, and a spectrum of it.")
        self._format, self._gains, self._least = format, gains, least
        self._frames, self._overlap = AudioFrames(format), OverlapAdd(format)
        self._windows = Windows(format)

    def push(self, samples: npt.ArrayLike) -> Values:
        """The clean samples that are due.

        Raises:
            FrameError: as `AudioFrames.push`.
        """
        frames = self._frames.push(samples)
        return self._applied(frames, self._windows.push(mono(samples)))

    def finish(self) -> Values:
        """The rest of the recording; then a new one begins. Whoever keeps states resets them."""
        rest = self._applied(self._frames.finish(), self._windows.finish())
        self._windows = Windows(self._format)
        return np.concatenate([rest, self._overlap.finish()])

    def _applied(self, frames: list[Tensor], windows: Values) -> Values:
        heard = [np.empty(0)]
        for frame, window in zip(frames, windows, strict=True):
            clean = masked(window, self._gains(frame), self._format, least=self._least)
            heard.append(self._overlap.add(clean))
        return np.concatenate(heard)
