"""Errors of the literature's networks on their own tasks, as meters: absolute ones, so that dense
networks and schemes can stand side by side. Lower is better."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mquans.metrics.meter import Outputs, pick
from mquans.metrics.speech import edit_distance, greedy_ctc, words_of

Values = npt.NDArray[np.float64]


class TaskMeter(ABC):
    """Errors over a clip.

    Attributes:
        per_frame: errors of every frame; counts: of how many labels, 0 where a frame has none.
    """

    def __init__(self) -> None:
        self.per_frame: list[float] = []
        self.counts: list[float] = []

    def add(self, outputs: Outputs, dense_outputs: Outputs, label: Any) -> None:
        error, count = (0.0, 0.0) if label is None else self.judge(outputs, label)
        self.per_frame.append(error)
        self.counts.append(count)

    @abstractmethod
    def judge(self, outputs: Outputs, label: Any) -> tuple[float, float]:
        """(errors, of how many) of a frame."""

    @staticmethod
    def rate(errors: Values, counts: Values) -> Values:
        """The error of a clip from both sums; also of many clips at once."""
        return np.asarray(errors / np.maximum(counts, 1), np.float64)

    def result(self) -> float:
        """The error over the frames so far."""
        return float(self.rate(np.array(sum(self.per_frame)), np.array(sum(self.counts))))


class RootMeanSquare(TaskMeter):
    """Root mean square error against labels, such as a steering angle's."""

    def judge(self, outputs: Outputs, label: Any) -> tuple[float, float]:
        found = np.asarray(pick(outputs, None), np.float64).reshape(-1)
        wanted = np.asarray(label, np.float64).reshape(-1)
        return float(np.mean((found - wanted) ** 2)), 1.0

    @staticmethod
    def rate(errors: Values, counts: Values) -> Values:
        return np.sqrt(TaskMeter.rate(errors, counts))


class ErrorRate(TaskMeter):
    """Share of frames whose largest score is not the label's."""

    def judge(self, outputs: Outputs, label: Any) -> tuple[float, float]:
        return float(np.argmax(pick(outputs, None)) != int(label)), 1.0


class WordErrorRate(TaskMeter):
    """Of greedily decoded CTC outputs: class 0 is the blank, class d + 1 the digit d. A label, the
    text of a string, stands at its last frame."""

    def __init__(self) -> None:
        super().__init__()
        self._classes: list[int] = []

    def add(self, outputs: Outputs, dense_outputs: Outputs, label: Any) -> None:
        scores = np.asarray(pick(outputs, None))
        self._classes += np.argmax(scores, axis=-1).reshape(-1).tolist()
        super().add(outputs, dense_outputs, label)

    def judge(self, outputs: Outputs, label: Any) -> tuple[float, float]:
        wanted = words_of(label)
        digits = [str(token - 1) for token in greedy_ctc(self._classes)]
        self._classes = []
        return float(edit_distance(wanted, digits)), float(len(wanted))


@dataclass(frozen=True, slots=True)
class Task:
    """How a network is judged.

    Attributes:
        name: of the error.
        relative, absolute: by how much an error may exceed the dense network's and still be none.
    """

    name: str
    meter: type[TaskMeter]
    relative: float = 0.0
    absolute: float = 0.0

    def no_loss(self, dense: Values) -> Values:
        """Largest error that counts as no loss."""
        return np.asarray((1 + self.relative) * dense + self.absolute, np.float64)


TASKS = {
    "rmse": Task("rmse", RootMeanSquare, relative=0.01),
    "word_error_rate": Task("word error rate", WordErrorRate, absolute=0.002),
    "top1": Task("error rate", ErrorRate, absolute=0.001),
    "frame_accuracy": Task("frame error rate", ErrorRate, absolute=0.001),
}
"""By the name under which a card has its accuracy: 1 % of a steering error, 0.2 points of a word
error rate, and 0.1 points of any other accuracy."""
