"""The numbers that quantized values may have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Grid:
    """An integer q of `dtype` stands for `(q - zero) * scale`."""

    scale: float
    zero: int
    dtype: str

    @property
    def low(self) -> int:
        """Least step, counted from zero."""
        return int(np.iinfo(self.dtype).min) - self.zero

    @property
    def high(self) -> int:
        """Largest step, counted from zero."""
        return int(np.iinfo(self.dtype).max) - self.zero
