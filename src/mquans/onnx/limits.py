"""How much a model may ask for, so that a small file cannot take all memory or never end."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

from mquans.errors import ModelError, MquansError

VARIABLE = "MQUANS_LIMITS"
LARGEST_FACTOR = 1e6

HINT = f"If the model is trusted, raise all limits by a factor with {VARIABLE}=FACTOR."


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one model, times the factor in the environment.

    Attributes:
        value: numbers in one tensor.
        total: numbers in all tensors together.
        computed: numbers in all tensors together that are computed when the model is read, beyond
            four times those in the file.
        products: multiplications of one operator whose result is the same in every frame.
        nodes: after local functions are unfolded.
        seconds: that one loop or branch may take, in the model's constants or in a frame.
    """

    value: int = 1 << 28
    total: int = 1 << 32
    computed: int = 1 << 26
    products: int = 1 << 36
    nodes: int = 100_000
    seconds: float = 5.0

    @staticmethod
    def from_environment() -> Limits:
        """The limits that hold now.

        Raises:
            MquansError: the factor in the environment is no positive number.
        """
        text = os.environ.get(VARIABLE, "1")
        try:
            factor = float(text)
        except ValueError:
            factor = 0.0
        if not 0 < factor <= LARGEST_FACTOR:
            raise MquansError(
                f"{VARIABLE} is {text!r}, not a positive number up to {LARGEST_FACTOR:g}.",
                hint=f"For example {VARIABLE}=4 raises all limits on models four times.",
            )
        plain = Limits()
        return Limits(
            int(plain.value * factor),
            int(plain.total * factor),
            int(plain.computed * factor),
            int(plain.products * factor),
            int(plain.nodes * factor),
            plain.seconds * factor,
        )

    def check_value(self, shape: tuple[int, ...], where: str) -> None:
        """Refuses a tensor that is too large; sizes below 0 are not known yet.

        Raises:
            ModelError: it has more numbers than one tensor may have.
        """
        if math.prod(max(size, 1) for size in shape) > self.value:
            raise ModelError(
                f"a tensor of shape {list(shape)} is larger than the {self.value} numbers that one "
                "may have.",
                where=where,
                hint=HINT,
            )


class Spending:
    """What a model has taken of its limits.

    Args:
        given: numbers in its file.
    """

    def __init__(self, limits: Limits, given: int) -> None:
        self.limits = limits
        self._most_computed = limits.computed + 4 * given
        self._numbers = self._computed = 0

    def declare(self, shape: tuple[int, ...], where: str) -> None:
        """Accounts for a tensor that frames bring or nodes compute.

        Raises:
            ModelError: it is too large, or all of them are together.
        """
        self.limits.check_value(shape, where)
        self._numbers += math.prod(max(size, 0) for size in shape)
        if self._numbers > self.limits.total:
            raise ModelError(
                f"the network has more than {self.limits.total} numbers in its tensors.",
                where=where,
                hint=HINT,
            )

    def compute(self, numbers: int, where: str) -> None:
        """Accounts for numbers that are computed when the model is read.

        Raises:
            ModelError: with these there are too many.
        """
        self._computed += numbers
        if self._computed > self._most_computed:
            raise ModelError(
                f"more than {self._most_computed} numbers are computed when the model is read.",
                where=where,
                hint=HINT,
            )
