"""What a task metric is: a loss per frame, or a meter that keeps count over a clip.

The simplest metric is a function `(outputs, dense_outputs, label) -> loss`, 0 for perfect. What
does not average over frames (F1, word error rate) is a class with `add` and `result`. `new_meter`
makes a fresh meter of either, so that every candidate on every clip is counted from zero.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from mquans.errors import MetricError, MquansError

Outputs = Mapping[str, npt.NDArray[Any]]

PERCENTILE = 95
"""Of the losses of single frames: stale outputs hide in a mean."""


@runtime_checkable
class MetricMeter(Protocol):
    """Counts over the frames of a clip."""

    @property
    def per_frame(self) -> Sequence[float]:
        """Loss of every frame so far; empty where single frames have none."""

    def add(self, outputs: Outputs, dense_outputs: Outputs, label: Any) -> None:
        """One frame: outputs under test, those of the dense network, and the frame's label or None.

        Outputs are arrays by name, in the shapes and the order of the model.
        """

    def result(self) -> float:
        """Loss over the frames so far: at least 0, and 0 when nothing was lost."""


Metric = Callable[[Outputs, Outputs, Any], float]

OutputWeights = Callable[[Outputs], Mapping[str, npt.NDArray[np.float64]]]
"""From the dense network's outputs of a frame: how much a squared error of every value harms, for
those outputs on which a metric depends, each of its output's shape; 1 in sum is a frame spoilt. A
meter may have one as `error_weights`: it guides criticality, which a metric itself cannot."""
AnyMetric = Metric | type[MetricMeter] | MetricMeter


class PercentileMeter:
    """A function of single frames as a meter: the result is its 95th percentile.

    >>> meter = PercentileMeter(lambda outputs, dense, label: abs(outputs["y"] - dense["y"]))
    >>> for y in (1.0, 2.0):
    ...     meter.add({"y": y}, {"y": 1.0}, None)
    >>> round(meter.result(), 2)
    0.95
    """

    def __init__(self, metric: Metric) -> None:
        self._metric = metric
        self._name = f"metric {metric_name(metric)!r}"
        self.per_frame: list[float] = []

    def add(self, outputs: Outputs, dense_outputs: Outputs, label: Any) -> None:
        """One frame; see `MetricMeter`."""
        self.per_frame.append(_loss(self._metric(outputs, dense_outputs, label), self._name))

    def result(self) -> float:
        """95th percentile over the frames so far; 0 before the first."""
        return float(np.percentile(self.per_frame, PERCENTILE)) if self.per_frame else 0.0


class _Checked:
    """A meter whose failures are explained and whose results are losses."""

    def __init__(self, meter: MetricMeter, name: str) -> None:
        self._meter = meter
        self._name = name

    @property
    def per_frame(self) -> Sequence[float]:
        return self._meter.per_frame

    def add(self, outputs: Outputs, dense_outputs: Outputs, label: Any) -> None:
        try:
            self._meter.add(outputs, dense_outputs, label)
        except MquansError:
            raise
        except Exception as error:
            uneven = [
                _unlike(name, outputs[name], dense_outputs[name])
                for name in outputs
                if name in dense_outputs
            ]
            raise self._failed(error, next(filter(None, uneven), "")) from error

    def result(self) -> float:
        try:
            value = self._meter.result()
        except MquansError:
            raise
        except Exception as error:
            raise self._failed(error) from error
        return _loss(value, self._name)

    def _failed(self, error: Exception, uneven: str = "") -> MetricError:
        hint = "A metric is called with (outputs, dense_outputs, label), arrays by output name"
        return MetricError(
            f"failed with {type(error).__name__}: {error}.",
            where=self._name,
            hint=f"{hint}; here {uneven}." if uneven else f"{hint}.",
        )


def new_meter(metric: AnyMetric) -> MetricMeter:
    """A meter that has counted nothing yet.

    Args:
        metric: a function `(outputs, dense_outputs, label) -> loss`; a class that makes meters
            without arguments; or a meter, which is copied as it is.

    Raises:
        MetricError: it is none of these.
    """
    name = f"metric {metric_name(metric)!r}"
    made: Any = _made(metric, name) if isinstance(metric, type) else metric
    if isinstance(made, MetricMeter):
        return _Checked(copy.deepcopy(made), name)
    if callable(made):
        return _Checked(PercentileMeter(made), name)
    raise MetricError(
        f"is a {type(metric).__name__}, not a metric.",
        where=name,
        hint="Give a function (outputs, dense_outputs, label) -> loss, or a class with add, "
        "result and per_frame.",
    )


def pick(outputs: Outputs, name: str | None) -> npt.NDArray[Any]:
    """The output of that name; by default the first.

    Raises:
        MetricError: there is none.
    """
    if name is None:
        return next(iter(outputs.values()))
    if name not in outputs:
        raise MetricError(
            f"the network has no output {name!r}.", hint=f"It has: {', '.join(outputs)}."
        )
    return outputs[name]


def pick_both(
    outputs: Outputs, dense_outputs: Outputs, name: str | None
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """The output of that name, by default the first, and the dense network's, to be compared value
    by value.

    Raises:
        MetricError: there is none, or their shapes differ.
    """
    found, dense = pick(outputs, name), pick(dense_outputs, name)
    if uneven := _unlike(name or next(iter(outputs)), found, dense):
        raise MetricError(
            f"the metric needs outputs of equal shapes, but {uneven}.",
            hint="Give a metric that takes any number of results, such as F1 of boxes by a decoder "
            "(mquans.metrics.DetectionLoss).",
        )
    return found, dense


def _unlike(name: str, found: npt.NDArray[Any], dense: npt.NDArray[Any]) -> str:
    """How shapes differ, as where the network picks a number of results; "" where they do not."""
    shape, wanted = list(np.shape(found)), list(np.shape(dense))
    if shape == wanted:
        return ""
    return f"output {name!r} is of shape {shape} where the dense network's is of {wanted}"


def metric_name(metric: object) -> str:
    """What messages and reports call a metric."""
    own = getattr(metric, "name", None) or getattr(metric, "__name__", None)
    return str(own or type(metric).__name__)


def _loss(value: Any, name: str) -> float:
    try:
        loss = float(value)
    except (TypeError, ValueError):
        loss = math.nan
    if not loss >= 0 or math.isinf(loss):
        raise MetricError(
            f"gave {value!r} as a loss.",
            where=name,
            hint="A loss is a finite number, at least 0, and 0 for perfect outputs.",
        )
    return loss


def _made(kind: type, name: str) -> Any:
    try:
        return kind()
    except Exception as error:
        raise MetricError(
            f"cannot be made: {type(error).__name__}: {error}.",
            where=name,
            hint="A metric class is made without arguments.",
        ) from error
