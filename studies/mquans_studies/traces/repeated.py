"""Input vectors that come again: what a memory of whole windows could answer (COREx, ISCA 2018)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mquans_studies.traces.layer_shape import Geometry

Hashes = npt.NDArray[np.uint64]


class RepeatedWindows:
    """Counts the windows of a layer that a bounded memory has seen before.

    A window is what one output position reads: all channels at all taps of the kernel. Windows are
    compared by a 64-bit hash of their held values; two different ones agree by accident once in
    2**64. The oldest entries leave the memory first.

    Args:
        entries: windows that the memory holds.
    """

    def __init__(self, geometry: Geometry, entries: int, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self._geometry = geometry
        self._entries = entries
        self._of_channel = _odd(rng, geometry.shape.channels)
        self._of_row_tap = _odd(rng, geometry.row_grid.shape[1])
        self._of_col_tap = _odd(rng, geometry.col_grid.shape[1])
        self._seen: Hashes = np.zeros(0, np.uint64)  # oldest first
        self._sorted: Hashes = np.zeros(0, np.uint64)

    def add(self, held: npt.NDArray[np.int16]) -> int:
        """Takes the windows of a frame; returns how many the memory could answer.

        Args:
            held: [rows, width, channels].
        """
        pixels = held.astype(np.int64).astype(np.uint64) @ self._of_channel
        columns = _summed(pixels.T, self._geometry.col_grid, self._of_col_tap).T
        hashes = _summed(columns, self._geometry.row_grid, self._of_row_tap).ravel()
        distinct = np.unique(hashes)
        at = np.searchsorted(self._sorted, distinct)
        known = np.zeros(len(distinct), np.bool_)
        inside = at < len(self._sorted)
        known[inside] = self._sorted[at[inside]] == distinct[inside]
        new = distinct[~known]
        self._remember(new, at[~known])
        return int(len(hashes) - len(new))

    def _remember(self, new: Hashes, at: npt.NDArray[np.intp]) -> None:
        """`at`: where they belong among those known."""
        self._seen = np.concatenate([self._seen, new])
        if len(self._seen) <= self._entries:
            self._sorted = np.insert(self._sorted, at, new)
        else:
            self._seen = self._seen[-self._entries :]
            self._sorted = np.sort(self._seen)


def _odd(rng: np.random.Generator, count: int) -> Hashes:
    return rng.integers(0, 2**64, count, np.uint64, endpoint=False) | np.uint64(1)


def _summed(values: Hashes, grid: npt.NDArray[np.int32], factors: Hashes) -> Hashes:
    """Sum over taps of factor * value along the first axis; padding counts as zero."""
    padded = np.concatenate([values, np.zeros((1, *values.shape[1:]), np.uint64)])
    total = np.zeros((len(grid), *values.shape[1:]), np.uint64)
    for tap, factor in enumerate(factors):
        total += padded[grid[:, tap]] * factor
    return total
