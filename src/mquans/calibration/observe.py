"""Stage 1: ranges and change curves of every tensor that reuse layers read, in one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mquans.baselines.ort_engine import open_session
from mquans.calibration.curves import RULES, CurveMeter, Curves
from mquans.evaluate import Feeds
from mquans.graph import Graph, Linear, Node
from mquans.importers import to_onnx
from mquans.plan import Rule

Values = npt.NDArray[np.float32]
Run = Callable[[Feeds], Mapping[str, Values]]


@dataclass(slots=True)
class LayerRange:
    """Least and largest value seen per neuron, [neurons] each."""

    low: Values
    high: Values

    def include(self, low: Values, high: Values) -> None:
        """Widens the range."""
        np.minimum(self.low, low, out=self.low)
        np.maximum(self.high, high, out=self.high)

    @property
    def neuron(self) -> npt.NDArray[np.float64]:
        """Width of every neuron's range with 0 in it, [neurons]."""
        return np.maximum(self.high, 0).astype(np.float64) - np.minimum(self.low, 0)

    @property
    def layer(self) -> float:
        """Width of the layer's range with 0 in it."""
        return float(max(self.high.max(), 0)) - float(min(self.low.min(), 0))


@dataclass(frozen=True, slots=True)
class Observation:
    """What the frames told about every tensor that reuse layers read.

    Attributes:
        ranges: by tensor.
        curves: by tensor; empty if only ranges were asked for.
        frames: how many were seen.
    """

    ranges: dict[str, LayerRange]
    curves: dict[str, Curves]
    frames: int


def dense_run(graph: Graph, *, threads: int = 1) -> Run:
    """A function from feeds to the inputs of all reuse layers, by value name, on onnxruntime."""
    tensors = dict.fromkeys(node.inputs[0] for node in graph.reuse_layers())
    computed = [value for value in tensors if value not in graph.inputs]
    if not computed:
        return lambda feeds: dict(feeds)
    model = to_onnx(graph, outputs=computed).SerializeToString()
    session = open_session(model, model_name=graph.name, threads=threads)
    needed = {value.name for value in session.get_inputs()}

    def run(feeds: Feeds) -> dict[str, Values]:
        used = {name: value for name, value in feeds.items() if name in needed}
        return dict(feeds) | dict(zip(computed, session.run(computed, used), strict=True))

    return run


class Observer:
    """Ranges and curves of all tensors, one frame after the other; frames are not kept.

    Args:
        rules: whose curves are taken; none for ranges alone.
    """

    def __init__(self, graph: Graph, *, rules: Sequence[Rule] = RULES) -> None:
        self._rules = rules
        self._readers = {node.inputs[0]: node for node in graph.reuse_layers()}
        self._ranges: dict[str, LayerRange] = {}
        self._meters: dict[str, CurveMeter] = {}
        self._frames = 0

    def add(self, clip: Iterable[Feeds], run: Run) -> None:
        """Consecutive frames of a stream, through a function that gives all tensors."""
        for index, feeds in enumerate(clip):
            self._frames += 1
            values = run(feeds)
            for name, node in self._readers.items():
                self._look(name, by_neuron(node, values[name]), first=index == 0)

    def result(self) -> Observation:
        """What was seen so far."""
        curves = {name: meter.result() for name, meter in self._meters.items()}
        return Observation(self._ranges, curves, self._frames)

    def _look(self, name: str, x: Values, *, first: bool) -> None:
        low, high = x.min(axis=1), x.max(axis=1)
        if name in self._ranges:
            self._ranges[name].include(low, high)
        else:
            self._ranges[name] = LayerRange(low, high)
        if not self._rules:
            return
        if name not in self._meters:
            self._meters[name] = CurveMeter(x, self._rules)
        elif first:
            self._meters[name].restart(x)
        else:
            self._meters[name].add(x)


def by_neuron(node: Node, value: Values) -> Values:
    """A layer's input as [neurons, positions]."""
    if isinstance(node.op, Linear):
        return value.reshape(-1, value.shape[-1]).T
    return np.moveaxis(value, 1, 0).reshape(value.shape[1], -1)
