"""Classification: the share of positions whose class is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mquans.errors import MetricError
from mquans.metrics.meter import Outputs, pick_both

Classes = npt.NDArray[np.int64]


class ClassificationLoss:
    """How many more positions are classified wrongly than by the dense network.

    Wanted is the label, a class or an array of them, or, without one, the dense network's class.
    The loss is `max(0, share of wrong positions - the dense network's share)`, over all frames.

    Args:
        output: name of the output that scores classes; by default the first.
        axis: of the classes. None: the whole output scores one position (top-1). -1: every position
            before the last axis has a class, as in [1, time, classes] (frame accuracy).
    """

    def __init__(self, *, output: str | None = None, axis: int | None = None) -> None:
        self._output = output
        self._axis = axis
        self._wrong = self._dense_wrong = self._positions = 0
        self.per_frame: list[float] = []

    def add(self, outputs: Outputs, dense_outputs: Outputs, label: Any) -> None:
        """One frame; see `MetricMeter`."""
        found, dense = map(self._classes, pick_both(outputs, dense_outputs, self._output))
        wanted = dense if label is None else _labelled(label, found.size)
        wrong, dense_wrong = int((found != wanted).sum()), int((dense != wanted).sum())
        self._wrong += wrong
        self._dense_wrong += dense_wrong
        self._positions += found.size
        self.per_frame.append(max(0, wrong - dense_wrong) / found.size)

    def result(self) -> float:
        """Loss over all positions of all frames."""
        return max(0, self._wrong - self._dense_wrong) / max(self._positions, 1)

    def _classes(self, output: npt.NDArray[Any]) -> Classes:
        return np.atleast_1d(np.argmax(output, axis=self._axis)).reshape(-1)


def _labelled(label: Any, positions: int) -> Classes:
    try:
        wanted = np.asarray(label, np.float64).reshape(-1)
    except (TypeError, ValueError):
        raise MetricError(
            f"the label {label!r} is not a class.", hint="Give classes as numbers from 0."
        ) from None
    if wanted.size != positions:
        raise MetricError(
            f"the label has {wanted.size} classes, but the output has {positions} positions."
        )
    return wanted.astype(np.int64)
