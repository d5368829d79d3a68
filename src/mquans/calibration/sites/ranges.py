"""Stage 1: what every channel of every tensor of codes did on the frames that ranges come from.

One pass through onnxruntime, frame after frame; nothing of a frame is kept. Layers computed
value by value are looked at too: their grids come from the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from mquans.calibration.observe import LayerRange, Run, by_neuron, check_finite, tensor_of
from mquans.calibration.sites.loudness import Loudness, Magnitude, layers_over_time
from mquans.graph import Graph, Node, layers_before_logarithms
from mquans.runtime.lowering.sites import Analysis
from mquans.sources.frames import Feeds

Values = npt.NDArray[np.float32]
Reals = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ChannelRange:
    """A tensor, channel by channel: [channels] each, in units of the tensor.

    Attributes:
        low, high: least and largest value.
        deviation: standard deviation over positions and frames.
        rms: root of the mean square.
    """

    low: Reals
    high: Reals
    deviation: Reals
    rms: Reals

    @property
    def magnitude(self) -> Reals:
        """Largest absolute value of every channel."""
        return np.maximum(np.abs(self.low), np.abs(self.high))

    @property
    def as_layer(self) -> LayerRange:
        """The same for grids of single values."""
        return LayerRange(self.low.astype(np.float32), self.high.astype(np.float32))


@dataclass(frozen=True, slots=True)
class Ranges:
    """What was seen.

    Attributes:
        tensors: of codes, by name.
        values: neuron by neuron, by what layers computed value by value read (`tensor_of`).
        frames: how many were seen.
        loudness: of what convolutions over time read and make.
        magnitudes: of what layers before a logarithm read and make.
    """

    tensors: Mapping[str, ChannelRange]
    values: Mapping[str, ChannelRange]
    frames: int
    loudness: Mapping[str, Loudness]
    magnitudes: Mapping[str, Magnitude]


class RangeMeter:
    """Takes frames one after the other."""

    def __init__(self, graph: Graph, analysis: Analysis) -> None:
        self._values = {
            tensor_of(node): _Sums(partial(by_neuron, node))
            for node in by_value_layers(graph, analysis)
        }
        layers = layers_over_time(graph, analysis)
        self._loudness = {
            name: Loudness() for node in layers for name in (node.inputs[0], node.outputs[0])
        }
        before_logarithms = layers_before_logarithms(graph)
        self._magnitudes = {
            name: Magnitude()
            for node in before_logarithms
            for name in (node.inputs[0], node.outputs[0])
        }
        # What takes its exponents over from such a layer has its own once that is in floats.
        codings = analysis.codings if layers or before_logarithms else analysis.fresh()
        self._codes = {
            name: _Sums(partial(_by_channel, coding.axis)) for name, coding in codings.items()
        }
        self._frames = 0

    @property
    def tensors(self) -> list[str]:
        """Names of all that is looked at."""
        return list(self._values | self._codes)

    def add(self, clip: Iterable[Feeds], run: Run) -> None:
        """Frames, through a function that gives all `tensors`."""
        for feeds in clip:
            self._frames += 1
            values = run(feeds)
            for sums in (self._values, self._codes):
                for name, seen in sums.items():
                    rows = seen.add(values[name])
                    for meters in (self._loudness, self._magnitudes):
                        if name in meters and (sums is self._codes or name not in self._codes):
                            meters[name].add(rows)

    def result(self) -> Ranges:
        """What was seen so far.

        Raises:
            ModelError: NaN or infinite values.
        """
        tensors, values = (
            {name: seen.result() for name, seen in sums.items() if self._frames}
            for sums in (self._codes, self._values)
        )
        for name, found in (*values.items(), *tensors.items()):
            check_finite(name, found.low, found.high)
        return Ranges(tensors, values, self._frames, self._loudness, self._magnitudes)


def by_value_layers(graph: Graph, analysis: Analysis) -> list[Node]:
    """Layers computed value by value."""
    return [node for node in graph.reuse_layers() if node.name not in analysis.integer_nodes]


def _by_channel(axis: int, value: Values) -> Values:
    return np.moveaxis(value, axis, 0).reshape(value.shape[axis], -1)


class _Sums:
    """Running sums of one tensor, around the first frame's means lest these drown variances."""

    _low: Values
    _high: Values
    _start: Values
    _sum: Reals
    _squares: Reals

    def __init__(self, rows_of: Callable[[Values], Values]) -> None:
        self._rows_of = rows_of
        self._frames = 0

    def add(self, tensor: Values) -> Values:
        """A frame; returns its rows, one for each channel or neuron."""
        rows = np.ascontiguousarray(self._rows_of(tensor), np.float32)
        if not self._frames:
            self._low, self._high = rows.min(axis=1), rows.max(axis=1)
            self._start = rows.mean(axis=1, dtype=np.float64).astype(np.float32)
            self._sum, self._squares = np.zeros(len(rows)), np.zeros(len(rows))
        self._frames += 1
        np.minimum(self._low, rows.min(axis=1), out=self._low)
        np.maximum(self._high, rows.max(axis=1), out=self._high)
        centred = rows - self._start[:, None]
        self._sum += centred.mean(axis=1)
        self._squares += np.einsum("cp,cp->c", centred, centred) / max(rows.shape[1], 1)
        return rows

    def result(self) -> ChannelRange:
        mean, square = self._sum / self._frames, self._squares / self._frames
        variance = np.maximum(square - mean**2, 0)
        start = self._start.astype(np.float64)
        return ChannelRange(
            self._low.astype(np.float64),
            self._high.astype(np.float64),
            np.sqrt(variance),
            np.sqrt(variance + (mean + start) ** 2),
        )
