"""Speech enhancement: distortion of the sound that a network's gains leave."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mquans.errors import MetricError
from mquans.metrics.meter import Outputs, pick
from mquans.plan import AudioFormat
from mquans.sources import OverlapAdd, masked
from mquans.sources.features import window_function

Samples = npt.NDArray[np.float64]

MOST_DB = 100.0
"""Stands for a ratio without any distortion, whose logarithm is infinite."""


def si_sdr(found: npt.ArrayLike, clean: npt.ArrayLike) -> float:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019, eq. 5).

        a = <found, clean> / |clean|^2;   10 log10(|a clean|^2 / |a clean - found|^2)

    At most 100 dB, at least -100; the latter also when either is silent.

    >>> round(si_sdr([2.0, 2.0, 1.0], [1.0, 1.0, 0.0]), 3)
    9.031
    """
    heard = np.asarray(found, np.float64).reshape(-1)
    wanted = np.asarray(clean, np.float64).reshape(-1)
    energy = float(wanted @ wanted)
    target = wanted * (float(heard @ wanted) / energy) if energy else wanted
    signal = float(target @ target)
    distortion = float(np.square(target - heard).sum())
    if not signal:
        return -MOST_DB
    if not distortion:
        return MOST_DB
    return min(MOST_DB, max(-MOST_DB, 10 * math.log10(signal / distortion)))


class DistortionLoss:
    """How far the SI-SDR is from the dense network's, in dB.

    Gains of a frame multiply the spectrum of its noisy window; windows are then added up to sound
    again (`mquans.OverlapAdd`), and so are the clean ones. The loss is
    `|SI-SDR of the dense network's sound - SI-SDR of ours|` over the clip. A gain counts as well:
    errors of gains are as likely to help as to harm on one recording, and a plan that was chosen
    for what it gained there loses on the next.

    A label, which every frame needs, is an array [2, window]: the frame's window of the noisy and
    of the clean recording, as samples.

    Args:
        format: of the network's input: one window per frame.
        least_gain: smaller gains are raised to it (NSNet2: -80 dB).
        output: name of the output, gains [..., bins]; by default the first.
    """

    per_frame: Sequence[float] = ()

    def __init__(
        self, format: AudioFormat, *, least_gain: float = 0.0, output: str | None = None
    ) -> None:
        self._format = format
        self._function = window_function(format)
        self._least = least_gain
        self._output = output
        self._sounds = [OverlapAdd(format) for _ in range(3)]
        self._heard: list[list[Samples]] = [[], [], []]

    def add(self, outputs: Outputs, dense_outputs: Outputs, label: Any) -> None:
        """One frame; see `MetricMeter`."""
        noisy, clean = self._windows(label) * self._function
        windows = (self._masked(noisy, outputs), self._masked(noisy, dense_outputs), clean)
        for sound, heard, window in zip(self._sounds, self._heard, windows, strict=True):
            heard.append(sound.add(window))

    def result(self) -> float:
        """Distance in dB over the frames so far."""
        if not self._heard[0]:
            return 0.0
        found, dense, clean = (np.concatenate(heard) for heard in self._heard)
        return abs(si_sdr(dense, clean) - si_sdr(found, clean))

    def _masked(self, noisy: Samples, outputs: Outputs) -> Samples:
        gains = pick(outputs, self._output)
        return masked(noisy, gains, self._format, least=self._least)

    def _windows(self, label: Any) -> Samples:
        wanted = (2, self._format.window)
        try:
            windows = np.asarray(label, np.float64)
        except (TypeError, ValueError):
            windows = np.empty(0)
        if windows.shape != wanted:
            raise MetricError(
                "a frame has no windows as its label.",
                hint=f"Give every frame an array {list(wanted)}: noisy and clean samples.",
            )
        return windows
