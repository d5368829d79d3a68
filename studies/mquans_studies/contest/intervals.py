"""Intervals of confidence by bootstrap over blocks.

Frames of one speaker, clip or stretch of road are alike, so blocks of them are drawn with
replacement, not frames (cluster bootstrap; Efron and Tibshirani 1993, chapter 8). All quantities
are taken under the same draws, so that a ratio of two schemes is one of pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Sums = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Draws:
    """How often every block counts: first each once, then in every draw.

    Attributes:
        names: [blocks]; times: [1 + draws, blocks].
        level: of intervals.
    """

    names: tuple[str, ...]
    times: npt.NDArray[np.int64]
    level: float

    @classmethod
    def of(cls, blocks: Sequence[str], *, draws: int, seed: int, level: float) -> Draws:
        """Draws of the blocks that frames belong to."""
        names = tuple(dict.fromkeys(blocks))
        count = len(names)
        drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), draws)
        return cls(names, np.concatenate([np.ones((1, count), np.int64), drawn]), level)

    def sums(self, values: Sums, blocks: Sequence[str]) -> Sums:
        """[1 + draws]: the sum of values [frames] over the blocks drawn."""
        places = {name: place for place, name in enumerate(self.names)}
        at = np.array([places[block] for block in blocks])
        return np.asarray(self.times @ np.bincount(at, values, len(self.names)), np.float64)

    def interval(self, quantity: Sums) -> dict[str, float | None]:
        """`value` as measured, and the percentiles `low` and `high` over draws, which are None
        where there is one block only.

        Args:
            quantity: [1 + draws].
        """
        value = float(quantity[0])
        if len(self.names) < 2:
            return {"value": value, "low": None, "high": None}
        tail = 50 * (1 - self.level)
        low, high = np.percentile(quantity[1:], (tail, 100 - tail))
        return {"value": value, "low": float(low), "high": float(high)}
