"""The loss of calibration as a weighted squared error, so that it can be differentiated.

`metrics.agreement` divides the squared error of every output channel by the channel's variance and
averages over channels. Written for single values, that is `sum_j w_j (z_j - y_j)^2` with

    w_j = 1 / (variance of its channel * channels of all outputs * positions)

which is what the methods work with. Values at which gradients stop (see `gradients`) are taken for
outputs of their own: an error there counts as much, per share of variance, as in a true output.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mquans.calibration.criticality.probe import Arrays
from mquans.calibration.unrolling import Unrolled
from mquans.errors import MetricError, MquansError
from mquans.metrics import OutputWeights, metric_name
from mquans.metrics.agreement import FLOOR, channels_first
from mquans.metrics.scored import channel_axes

Floats = npt.NDArray[np.float64]

REST = 0.05
"""Share of the plain loss in a loss of the user's: a detector that finds nothing in the calibration
clip is to find what comes."""


class VarianceMeter:
    """Variance over positions and frames of the rows of one value, frame by frame."""

    def __init__(self) -> None:
        self._frames = 0
        self._start: Floats = np.zeros(0)
        self._sum: Floats = np.zeros(0)
        self._squares: Floats = np.zeros(0)

    def add(self, values: Floats) -> None:
        """One frame of the value: [rows, positions]."""
        if not self._frames:
            self._start = values.mean(axis=1, keepdims=True)
            self._sum, self._squares = np.zeros(len(values)), np.zeros(len(values))
        self._frames += 1
        # Around the first frame's mean, lest a large mean drown a small variance.
        values = values - self._start
        self._sum += values.mean(axis=1)
        self._squares += np.square(values).mean(axis=1)

    def variance(self) -> Floats:
        """Per row."""
        mean = self._sum / self._frames
        return np.asarray(np.maximum(self._squares / self._frames - mean**2, 0))

    def scale(self) -> Floats:
        """What squared errors are divided by: the variance, floored as in `agreement`. Of a value
        that never varies, its mean square, or 1 where that is 0 too."""
        variance = self.variance()
        if variance.mean() > 0:
            return np.asarray(np.maximum(variance, FLOOR * variance.mean()))
        level = float(np.square(self._start).mean())
        return np.full(len(variance), level if level > 0 else 1.0)


@dataclass(frozen=True, slots=True)
class OutputLoss:
    """`sum_j w_j (z_j - y_j)^2` over the values that the loss is measured at.

    Attributes:
        weights: `w` by value name, each of the value's shape.
        shares: loss of an error as large as the value's own variance, by value name; over all
            outputs of all frames they add up to 1.
    """

    weights: dict[str, Floats]
    shares: dict[str, float]

    @classmethod
    def measured(
        cls, network: Unrolled, values: Iterable[str], frames: Iterable[Arrays]
    ) -> OutputLoss:
        """Weights from what the dense network computes.

        Args:
            values: outputs of the graph, and values to be treated as further outputs.
            frames: the arrays of those values, window by window.
        """
        origins = {value: network.origins.get(value, value) for value in values}
        meters = {name: VarianceMeter() for name in origins.values()}
        axes = channel_axes(network.graph, origins)
        for arrays in frames:
            for value, name in origins.items():
                meters[name].add(channels_first(arrays[value], axes[value]))
        return cls.of(network, {value: meters[name].scale() for value, name in origins.items()})

    @classmethod
    def of(cls, network: Unrolled, scales: Mapping[str, Floats | None]) -> OutputLoss:
        """Weights from what the squared errors of the channels are divided by; None for 1."""
        graph = network.graph
        axes = channel_axes(graph, scales)
        channels = {value: _channel_of(graph.shape(value), axes[value]) for value in scales}
        counts = {value: int(index.max(initial=0)) + 1 for value, index in channels.items()}
        total = sum(count for value, count in counts.items() if value in graph.outputs)
        weights, shares = {}, {}
        for value, scale in scales.items():
            index, count = channels[value], counts[value]
            shares[value] = count / total if value in graph.outputs else 1.0 / network.frames
            per_channel = 1.0 / (np.ones(count) if scale is None else scale)
            weights[value] = per_channel[index] * shares[value] / index.size
        return cls(weights, shares)

    def between(self, dense: Arrays, found: Arrays) -> float:
        """The mean loss of the frames of a window."""
        return sum(
            float((weight * np.square(found[value].astype(np.float64) - dense[value])).sum())
            for value, weight in self.weights.items()
        )

    def with_weights(
        self, network: Unrolled, error_weights: OutputWeights, dense: Arrays
    ) -> dict[str, Floats]:
        """Weights of one window for a loss of the user's: those that `error_weights` gives for each
        of its frames, mean over them, and `REST` of these here.

        Args:
            dense: values of the window.
        """
        weights = {value: REST * weight for value, weight in self.weights.items()}
        for names, outputs in zip(network.outputs, network.outputs_in(dense), strict=True):
            for name, weight in checked_weights(error_weights, outputs).items():
                weights[names[name]] = weights[names[name]] + weight / len(network.outputs)
        return weights


def directions(
    weights: Mapping[str, Floats], random: np.random.Generator
) -> dict[str, npt.NDArray[np.float32]]:
    """Random cotangents `v_j = +-sqrt(w_j)` by value, for which `E (v . dy)^2` is the loss of an
    error `dy`."""
    return {
        value: (np.sqrt(weight) * random.choice((-1.0, 1.0), weight.shape)).astype(np.float32)
        for value, weight in weights.items()
    }


def checked_weights(error_weights: OutputWeights, outputs: Arrays) -> Mapping[str, Floats]:
    """What `error_weights` says of one frame.

    Raises:
        MetricError: it fails, it names what is no output, or weights are of another shape, not
            finite or negative.
    """
    where = f"metric {metric_name(error_weights)!r}"
    try:
        found = error_weights(outputs)
    except MquansError:
        raise
    except Exception as error:
        raise MetricError(
            f"weighing outputs failed with {type(error).__name__}: {error}.",
            where=where,
            hint=f"It is called with a frame's outputs by name: {', '.join(outputs)}.",
        ) from error
    for name, weight in found.items():
        if name not in outputs:
            raise MetricError(
                f"weighs {name!r}, which is no output.",
                where=where,
                hint=f"Outputs are: {', '.join(outputs)}.",
            )
        if weight.shape != outputs[name].shape or not (np.isfinite(weight) & (weight >= 0)).all():
            raise MetricError(
                f"weighs {name!r} with an array of shape {list(weight.shape)}, smallest value "
                f"{np.min(weight, initial=0):g}; it must be finite, not negative, and of shape "
                f"{list(outputs[name].shape)}.",
                where=where,
            )
    return found


class WeightedError:
    """A meter of the squared error that `error_weights` asks for; the result is its mean over
    frames."""

    def __init__(self, error_weights: OutputWeights) -> None:
        self._error_weights = error_weights
        self.per_frame: list[float] = []

    def add(self, outputs: Arrays, dense_outputs: Arrays, label: Any) -> None:
        """One frame; see `MetricMeter`."""
        weights = checked_weights(self._error_weights, dense_outputs)
        errors = {name: outputs[name].astype(np.float64) - dense_outputs[name] for name in weights}
        total = sum(float((w * np.square(errors[name])).sum()) for name, w in weights.items())
        self.per_frame.append(total)

    def result(self) -> float:
        return float(np.mean(self.per_frame)) if self.per_frame else 0.0


def _channel_of(shape: tuple[int, ...], axis: int | None) -> npt.NDArray[np.int64]:
    """The channel of every value of an array, as `channels_first` sees it."""
    numbers = np.arange(math.prod(shape), dtype=np.float64).reshape(shape)
    places = channels_first(numbers, axis).astype(np.int64)
    channel = np.empty(places.size, np.int64)
    channel[places] = np.arange(len(places))[:, None]
    return channel.reshape(shape)
