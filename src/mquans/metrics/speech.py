"""Speech: word error rate of greedily decoded CTC outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mquans.errors import MetricError
from mquans.metrics.meter import Outputs, pick

Words = list[str]


class WordErrorLoss:
    """How much higher the word error rate is than the dense network's.

    Frames bring hops of one long recording. A label, the text of an utterance or the list of its
    words, stands at the utterance's last frame; the others have None. What is left after the last
    label, which is everything when there are no labels, is compared with what the dense network
    writes. The loss is `max(0, word errors - the dense network's) / wanted words`.

    Args:
        symbols: text of every class; words are split at spaces. Without it every class is a word of
            its own, its number, and the loss is a token error rate.
        blank: class of CTC's blank (Graves et al. 2006).
        output: name of the output [..., classes] (any axes of time before); by default the first.
    """

    def __init__(
        self, symbols: Sequence[str] | None = None, *, blank: int = 0, output: str | None = None
    ) -> None:
        self._symbols = symbols
        self._blank = blank
        self._output = output
        self._found: list[int] = []
        self._dense: list[int] = []
        self._errors = self._dense_errors = self._words = 0
        self.per_frame: list[float] = []

    def add(self, outputs: Outputs, dense_outputs: Outputs, label: Any) -> None:
        """One frame; see `MetricMeter`."""
        self._found += _best(pick(outputs, self._output))
        self._dense += _best(pick(dense_outputs, self._output))
        if label is None:
            return
        wanted = words_of(label)
        self._errors += edit_distance(wanted, self._text(self._found))
        self._dense_errors += edit_distance(wanted, self._text(self._dense))
        self._words += len(wanted)
        self._found, self._dense = [], []

    def result(self) -> float:
        """Loss over all words so far."""
        rest = self._text(self._dense)
        errors = self._errors + edit_distance(rest, self._text(self._found))
        words = self._words + len(rest)
        return max(0, errors - self._dense_errors) / max(words, 1)

    def _text(self, classes: Sequence[int]) -> Words:
        tokens = greedy_ctc(classes, blank=self._blank)
        if self._symbols is None:
            return [str(token) for token in tokens]
        if tokens and max(tokens) >= len(self._symbols):
            raise MetricError(
                f"the output has class {max(tokens)}, but there are {len(self._symbols)} symbols."
            )
        return "".join(self._symbols[token] for token in tokens).split()


def words_of(label: Any) -> Words:
    """The words of a label: a text, a list of words, or a number, as tables have for a word that
    is one.

    >>> words_of("four two"), words_of([4, 2]), words_of(7.0)
    (['four', 'two'], ['4', '2'], ['7'])
    """
    if isinstance(label, list | tuple | np.ndarray):
        return [word for part in label for word in words_of(part)]
    if isinstance(label, int | float | np.number) and float(label).is_integer():
        return [str(int(label))]
    return str(label).split()


def greedy_ctc(classes: Sequence[int], *, blank: int = 0) -> list[int]:
    """The best class of every time step to tokens: repeats merged, then blanks dropped.

    >>> greedy_ctc([0, 3, 3, 0, 3, 1])
    [3, 3, 1]
    """
    before = [-1, *classes]
    return [now for now, last in zip(classes, before, strict=False) if now not in (last, blank)]


def edit_distance(wanted: Sequence[object], found: Sequence[object]) -> int:
    """Fewest insertions, deletions and substitutions between two texts (Levenshtein 1966).

    >>> edit_distance(["one", "two"], ["one", "too", "three"])
    2
    """
    row = list(range(len(found) + 1))
    for i, word in enumerate(wanted, start=1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(found, start=1):
            substituted = diagonal + (word != other)
            diagonal = row[j]
            row[j] = min(substituted, row[j] + 1, row[j - 1] + 1)
    return row[-1]


def _best(scores: Any) -> list[int]:
    return [int(token) for token in np.argmax(np.asarray(scores), axis=-1).reshape(-1)]
