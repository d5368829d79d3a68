"""Errors of the literature's networks on their own tasks, as meters: absolute ones, so that dense
networks and schemes can stand side by side. Lower is better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from mquans.metrics.meter import MetricMeter, Outputs, pick
from mquans.metrics.speech import edit_distance, greedy_ctc, words_of


class RootMeanSquare:
    """Root mean square error against labels, such as a steering angle's."""

    def __init__(self) -> None:
        self.per_frame: list[float] = []

    def add(self, outputs: Outputs, dense_outputs: Outputs, label: Any) -> None:
        found = np.asarray(pick(outputs, None), np.float64).reshape(-1)
        wanted = np.asarray(label, np.float64).reshape(-1)
        self.per_frame.append(float(np.mean((found - wanted) ** 2)))

    def result(self) -> float:
        return float(np.sqrt(np.mean(self.per_frame)))


class ErrorRate:
    """Share of frames whose largest score is not the label's."""

    def __init__(self) -> None:
        self.per_frame: list[float] = []

    def add(self, outputs: Outputs, dense_outputs: Outputs, label: Any) -> None:
        if label is not None:
            self.per_frame.append(float(np.argmax(pick(outputs, None)) != int(label)))

    def result(self) -> float:
        return float(np.mean(self.per_frame)) if self.per_frame else 0.0


class WordErrorRate:
    """Of greedily decoded CTC outputs: class 0 is the blank, class d + 1 the digit d. A label, the
    text of a string, stands at its last frame."""

    def __init__(self) -> None:
        self.per_frame: list[float] = []
        self._classes: list[int] = []
        self._errors = self._words = 0

    def add(self, outputs: Outputs, dense_outputs: Outputs, label: Any) -> None:
        scores = np.asarray(pick(outputs, None))
        self._classes += np.argmax(scores, axis=-1).reshape(-1).tolist()
        if label is None:
            return
        wanted = words_of(label)
        digits = [str(token - 1) for token in greedy_ctc(self._classes)]
        self._errors += edit_distance(wanted, digits)
        self._words += len(wanted)
        self._classes = []

    def result(self) -> float:
        return self._errors / max(self._words, 1)


@dataclass(frozen=True, slots=True)
class Task:
    """How a network is judged.

    Attributes:
        name: of the error.
        no_loss: largest error of a scheme that counts as none, from the dense network's.
        bits: the width of the ISCA 2018 paper for such networks.
    """

    name: str
    meter: type[MetricMeter]
    no_loss: Callable[[float], float]
    bits: int


TASKS = {
    "rmse": Task("rmse", RootMeanSquare, lambda dense: 1.01 * dense, 5),
    "word_error_rate": Task("word error rate", WordErrorRate, lambda dense: dense + 0.002, 4),
    "top1": Task("error rate", ErrorRate, lambda dense: dense + 0.001, 5),
    "frame_accuracy": Task("frame error rate", ErrorRate, lambda dense: dense + 0.001, 4),
}
"""By the name under which a card has its accuracy. No loss is 1 % of a steering error, 0.2 points
of a word error rate, and 0.1 points of any other accuracy."""
