"""The loss of a stream without an end, frame by frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mquans.metrics.agreement import FLOOR, channels_first, relative
from mquans.metrics.variance import ChannelVariance

LEAST_VALUES = 100
"""Per output channel, for a variance that losses can be relative to."""


class RunningLoss:
    """The loss of single frames (`metrics.agreement`) of a stream without an end: variances are
    those of the dense outputs so far.

    Args:
        axes: of the channels of outputs, see `metrics.scored_axes`.
    """

    def __init__(self, axes: Mapping[str, int | None] | None = None) -> None:
        self._axes = axes or {}
        self._variance: dict[str, ChannelVariance] = {}

    @property
    def ready(self) -> bool:
        """True when variances rest on `LEAST_VALUES` values per channel."""
        known = self._variance.values()
        return bool(known) and all(variance.values >= LEAST_VALUES for variance in known)

    def learn(self, outputs: Mapping[str, npt.NDArray[Any]]) -> None:
        """Counts a frame's outputs into the variances."""
        for name, array in outputs.items():
            self._variance.setdefault(name, ChannelVariance()).add(self._channels(name, array))

    def loss(
        self, outputs: Mapping[str, npt.NDArray[Any]], dense: Mapping[str, npt.NDArray[Any]]
    ) -> float:
        """Mean over channels of squared error over variance."""
        losses = []
        for name, array in dense.items():
            difference = self._channels(name, outputs[name]) - self._channels(name, array)
            variance = self._variance[name].floored(FLOOR)
            losses.append(relative(np.mean(difference**2, axis=1), variance))
        return float(np.concatenate(losses).mean())

    def _channels(self, name: str, array: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        return channels_first(array, self._axes.get(name))
