"""Voice activity: F1 of frames taken for speech."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mquans.errors import MetricError
from mquans.metrics.meter import Outputs, pick_both

Decisions = npt.NDArray[np.bool_]


class VoiceActivityLoss:
    """How much lower the F1 of speech is than the dense network's.

    F1 = 2 TP / (2 TP + FP + FN) over all positions of the clip, a position being speech when the
    output, a probability, exceeds the threshold; 1 when there is no speech and none was found. With
    labels the loss is `max(0, F1 of the dense network - F1)`; without, the dense network's
    decisions are the labels, and the loss is 1 - F1.

    A label is 1 for speech and 0 for none, or an array of them, one per position of the output.

    Args:
        threshold: of the probability; Silero's own is 0.5.
        output: name of the output; by default the first.
    """

    def __init__(self, *, threshold: float = 0.5, output: str | None = None) -> None:
        self._threshold = threshold
        self._output = output
        # True and false positives and false negatives.
        self._counts = np.zeros(3, np.int64)
        self._dense_counts = np.zeros(3, np.int64)
        self.per_frame: list[float] = []

    def add(self, outputs: Outputs, dense_outputs: Outputs, label: Any) -> None:
        """One frame; see `MetricMeter`."""
        found, dense = map(self._decisions, pick_both(outputs, dense_outputs, self._output))
        wanted = dense if label is None else _labelled(label, found.size)
        self._counts += _count(found, wanted)
        self._dense_counts += _count(dense, wanted)
        wrong, dense_wrong = int((found != wanted).sum()), int((dense != wanted).sum())
        self.per_frame.append(max(0, wrong - dense_wrong) / max(found.size, 1))

    def result(self) -> float:
        """Loss over all positions of all frames."""
        return max(0.0, _f1(self._dense_counts) - _f1(self._counts))

    def _decisions(self, output: npt.NDArray[Any]) -> Decisions:
        return np.asarray(output).reshape(-1) > self._threshold


def _count(found: Decisions, wanted: Decisions) -> npt.NDArray[np.int64]:
    return np.array([(found & wanted).sum(), (found & ~wanted).sum(), (~found & wanted).sum()])


def _f1(counts: npt.NDArray[np.int64]) -> float:
    hits, invented, missed = (int(count) for count in counts)
    return 2 * hits / (2 * hits + invented + missed) if hits + invented + missed else 1.0


def _labelled(label: Any, positions: int) -> Decisions:
    try:
        wanted = np.asarray(label, np.float64).reshape(-1)
    except (TypeError, ValueError):
        raise MetricError(
            f"the label {label!r} is not 0 or 1.", hint="Give 1 for speech and 0 for none."
        ) from None
    if wanted.size != positions:
        raise MetricError(
            f"the label has {wanted.size} values, but the output has {positions} positions."
        )
    return wanted > 0.5
