"""Variance of an output per channel, over positions and frames, without keeping the frames."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Sums = npt.NDArray[np.float64]


class ChannelVariance:
    """Running variance, one frame of positions at a time (Chan, Golub, LeVeque 1979).

    Attributes:
        values: seen per channel so far.
    """

    def __init__(self) -> None:
        self.values = 0
        self._mean: Sums = np.zeros(0)
        self._spread: Sums = np.zeros(0)

    def add(self, y: Sums) -> None:
        """One frame, [channels, positions]."""
        positions = y.shape[1]
        mean, spread = y.mean(axis=1), y.var(axis=1) * positions
        if not self.values:
            self._mean, self._spread = mean, spread
        else:
            step = mean - self._mean
            share = positions / max(self.values + positions, 1)
            self._mean = self._mean + step * share
            self._spread = self._spread + spread + step**2 * self.values * share
        self.values += positions

    def floored(self, share: float) -> Sums:
        """Variance per channel, at least `share` of the mean channel's, [channels]."""
        variance = self._spread / max(self.values, 1)
        return np.asarray(np.maximum(variance, share * variance.mean()))
