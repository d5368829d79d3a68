"""Codes of one tensor, as a plan has them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from mquans.calibration.sites.ranges import Reals

Exponents = npt.NDArray[np.int64]

BITS = 16


@dataclass(frozen=True, slots=True)
class CodeFormat:
    """Codes of one tensor: `x = code * 2**exponents[channel]`, of `bits` bits.

    Attributes:
        axis: of the channels.
        exponents: [channels].
    """

    axis: int
    exponents: Exponents
    bits: int = BITS

    @property
    def limit(self) -> int:
        """Largest magnitude of a code."""
        return int(2 ** (self.bits - 1)) - 1

    @property
    def rounding(self) -> Reals:
        """Mean squared error of a value, [channels]."""
        steps: Reals = np.exp2(self.exponents.astype(np.float64))
        return np.square(steps) / 12

    def narrowed(self) -> CodeFormat:
        """The same range in one bit less."""
        return replace(self, exponents=self.exponents + 1, bits=self.bits - 1)
