"""Stage 1: ranges and change curves of every tensor that reuse layers read, in one pass.

Rows that are compared in time, those of sequences and of states, are looked at step by step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mquans.baselines.ort_engine import open_session, run_session
from mquans.calibration.curves import RULES, CurveMeter, Curves
from mquans.errors import ModelError
from mquans.graph import Graph, Linear, Node, Recurrence
from mquans.onnx import state_value, to_onnx
from mquans.plan import Feedback, Rule
from mquans.sources.frames import Feeds, in_place_of, numbered, states_at

Values = npt.NDArray[np.float32]
Range = npt.NDArray[np.floating]
Run = Callable[[Feeds], Mapping[str, Values]]

MOST_STEPS = 48
"""Steps of one frame that curves are taken of; of longer sequences a stretch, another in every
frame."""


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
        ranges: by tensor, see `tensor_of`.
        curves: by tensor; empty if only ranges were asked for.
        frames: how many were seen.
    """

    ranges: dict[str, LayerRange]
    curves: dict[str, Curves]
    frames: int


def tensor_of(node: Node) -> str:
    """What a reuse layer reads: its input, or the states that a recurrence multiplies."""
    return state_value(node) if isinstance(node.op, Recurrence) else node.inputs[0]


class DenseRun:
    """From feeds to the tensors of all reuse layers, by name, on onnxruntime. States of the network
    go on from frame to frame, and begin anew with every recording.

    Args:
        feedback: state inputs by the output that feeds them.
        tensors: names of those that are wanted instead.
    """

    def __init__(
        self,
        graph: Graph,
        feedback: Mapping[str, str] | None = None,
        *,
        threads: int = 1,
        tensors: Sequence[str] | None = None,
    ) -> None:
        self._name = graph.name
        self._states = Feedback(feedback or {}, {name: graph.shape(name) for name in graph.inputs})
        if tensors is None:
            tensors = [tensor_of(node) for node in graph.reuse_layers()]
        wanted = dict.fromkeys([*tensors, *(feedback or {}).values()])
        self._computed = [value for value in wanted if value not in graph.inputs]
        if self._computed:
            model = to_onnx(graph, outputs=self._computed).SerializeToString()
            self._session = open_session(model, model_name=graph.name, threads=threads)
            self._needed = {value.name for value in self._session.get_inputs()}

    def reset(self) -> None:
        """Begin with states of zeros."""
        self._states.reset()

    def fill(self, feeds: Feeds) -> Feeds:
        """The frame with its states, ready to be run next."""
        self._states = states_at(feeds, self._states)
        return in_place_of(feeds, self._states.fill(feeds))

    def __call__(self, feeds: Feeds) -> Mapping[str, Values]:
        filled = self.fill(feeds)
        if not self._computed:
            return filled
        used = {name: value for name, value in filled.items() if name in self._needed}
        found = run_session(self._session, self._computed, used, model_name=self._name)
        self._states.keep(found)
        return filled | found


class Observer:
    """Ranges and curves of all tensors, one frame after the other; frames are not kept.

    Args:
        rules: whose curves are taken; none for ranges alone.
    """

    def __init__(self, graph: Graph, *, rules: Sequence[Rule] = RULES) -> None:
        self._rules = rules
        self._readers = {tensor_of(node): node for node in reversed(list(graph.reuse_layers()))}
        self._ranges: dict[str, LayerRange] = {}
        self._meters: dict[str, CurveMeter] = {}
        self._frames = 0

    def add(self, clip: Iterable[Feeds], run: Run) -> None:
        """Consecutive frames of a stream, through a function that gives all tensors."""
        for _, feeds, first in numbered(clip):
            self._frames += 1
            values = run(feeds)
            for name, node in self._readers.items():
                self._look(name, node, values[name], first=first)

    def result(self) -> Observation:
        """What was seen so far.

        Raises:
            ModelError: NaN or infinite values.
        """
        for name, seen in self._ranges.items():
            check_finite(name, seen.low, seen.high)
        curves = {name: meter.result() for name, meter in self._meters.items()}
        return Observation(self._ranges, curves, self._frames)

    def _look(self, name: str, node: Node, value: Values, *, first: bool) -> None:
        x = by_neuron(node, value)
        low, high = x.min(axis=1), x.max(axis=1)
        if name in self._ranges:
            self._ranges[name].include(low, high)
        else:
            self._ranges[name] = LayerRange(low, high)
        if not self._rules:
            return
        for step in steps_of(node, value, self._frames):
            if step is None:
                first = True
            elif name not in self._meters:
                self._meters[name], first = CurveMeter(step, self._rules), False
            elif first:
                self._meters[name].restart(step)
                first = False
            else:
                self._meters[name].add(step)


def check_finite(name: str, low: Range, high: Range) -> None:
    """Refuses a range that is none.

    Raises:
        ModelError: some frame made NaN or infinite values of a tensor.
    """
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise ModelError(
            f"the network makes NaN or infinite values of some of these frames, in {name!r}.",
            hint="Prepare frames as the network was trained: --scale, --mean, --std.",
        )


def by_neuron(node: Node, value: Values) -> Values:
    """A layer's tensor as [neurons, positions]."""
    if isinstance(node.op, Linear | Recurrence):
        return value.reshape(-1, value.shape[-1]).T
    return np.moveaxis(value, 1, 0).reshape(value.shape[1], -1)


def steps_of(node: Node, value: Values, number: int) -> Iterator[Values | None]:
    """A layer's tensor step by step in time, each [neurons, positions]; one step for layers whose
    values are compared from frame to frame. None where what follows is no neighbour of what was
    before: `MOST_STEPS` of a longer sequence are picked by the frame's number."""
    match node.op:
        case Recurrence(reverse=reverse):
            sequence = value[::-1] if reverse else value
        case Linear(batch=batch) if batch:
            sequence = value.reshape(-1, batch, value.shape[-1])
        case _:
            yield by_neuron(node, value)
            return
    count = len(sequence)
    if count > MOST_STEPS:
        yield None
        start = number * MOST_STEPS % (count - MOST_STEPS + 1)
        sequence = sequence[start : start + MOST_STEPS]
    for step in sequence:
        yield step.T
