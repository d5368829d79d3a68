"""Regression: how much larger the error is than the dense network's."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from mquans.errors import MetricError
from mquans.metrics.meter import Outputs, pick_both

ROUNDING = 1e-12
"""Variance over squared mean that rounding alone gives a value that never changes."""


class RegressionLoss:
    """Growth of the error over the clip, in standard deviations of what is wanted.

    Wanted, `r`, is the label, a number or an array of the output's size, or, without one, the dense
    output `y`. For outputs `z` under test

        rmse: max(0, sqrt(mean (z - r)^2) - sqrt(mean (y - r)^2)) / std(r)
        mae:  max(0, mean |z - r| - mean |y - r|) / std(r)

    over all frames; a frame's own loss is the same of its values over the clip's std(r). Where `r`
    never changes, std(r) counts as 1.

    Args:
        output: name of the output; by default the first.
    """

    def __init__(self, *, kind: Literal["rmse", "mae"] = "rmse", output: str | None = None) -> None:
        self._power = 2 if kind == "rmse" else 1
        self._output = output
        self._errors = self._dense_errors = 0.0
        self._values, self._mean, self._spread = 0, 0.0, 0.0
        self._growth: list[float] = []

    @property
    def per_frame(self) -> list[float]:
        """Loss of every frame so far."""
        scale = self._scale()
        return [growth / scale for growth in self._growth]

    def add(self, outputs: Outputs, dense_outputs: Outputs, label: Any) -> None:
        """One frame; see `MetricMeter`."""
        found, dense = (
            np.asarray(values, np.float64).reshape(-1)
            for values in pick_both(outputs, dense_outputs, self._output)
        )
        wanted = dense if label is None else _labelled(label, found.size)
        errors = float((np.abs(found - wanted) ** self._power).sum())
        dense_errors = float((np.abs(dense - wanted) ** self._power).sum())
        self._errors += errors
        self._dense_errors += dense_errors
        self._growth.append(self._difference(errors, dense_errors, found.size))
        # Welford over all values so far (Chan et al. 1979 for whole frames at once).
        before, self._values = self._values, self._values + wanted.size
        step = float(wanted.mean()) - self._mean
        self._mean += step * wanted.size / self._values
        self._spread += float(wanted.var()) * wanted.size
        self._spread += step**2 * before * wanted.size / self._values

    def result(self) -> float:
        """Loss over all values of all frames."""
        if not self._values:
            return 0.0
        return self._difference(self._errors, self._dense_errors, self._values) / self._scale()

    def _difference(self, errors: float, dense_errors: float, values: int) -> float:
        root = 1 / self._power
        return float(max(0.0, (errors / values) ** root - (dense_errors / values) ** root))

    def _scale(self) -> float:
        variance = self._spread / max(self._values, 1)
        constant = variance <= ROUNDING * self._mean**2
        return 1.0 if constant else float(variance**0.5)


def _labelled(label: Any, values: int) -> np.typing.NDArray[np.float64]:
    try:
        wanted = np.asarray(label, np.float64).reshape(-1)
    except (TypeError, ValueError):
        raise MetricError(f"the label {label!r} is not a number.") from None
    if wanted.size != values:
        raise MetricError(f"the label has {wanted.size} values, but the output has {values}.")
    return wanted
