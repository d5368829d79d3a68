"""Running a graph for some of its values, on some of the frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from mquans.baselines.ort_engine import open_session, run_session
from mquans.calibration.gradients import Tape
from mquans.graph import Graph, Linear, Node
from mquans.onnx import to_onnx

Array = npt.NDArray[np.floating]
Arrays = Mapping[str, Array]


MOST_OPTIMIZED = 5000
"""Nodes of a graph that is optimised before the few runs it is made for."""


class Probe:
    """Any values of a graph, in onnxruntime.

    Args:
        values: names of values of the graph.
    """

    def __init__(self, graph: Graph, values: Iterable[str], *, threads: int) -> None:
        self._name = graph.name
        self._inputs = graph.inputs
        self._values = list(dict.fromkeys(values))
        model = to_onnx(graph, outputs=self._values).SerializeToString()
        self._session = open_session(
            model,
            model_name=graph.name,
            threads=threads,
            optimize=len(graph.nodes) <= MOST_OPTIMIZED,
        )

    def run(self, feeds: Arrays) -> dict[str, Array]:
        """Arrays by name of value.

        Args:
            feeds: an array for every input of the graph; others are ignored.
        """
        used = {name: feeds[name] for name in self._inputs}
        return run_session(self._session, self._values, used, model_name=self._name)


def neuron_sum(tape: Tape, node: Node, value: str) -> str:
    """A value at a reuse layer summed over positions: [neurons] at its input, [channels] at its
    output."""
    rank = len(tape.shape(value))
    others = [i for i in range(rank) if i != neuron_axis(node, rank)]
    return tape.reduce("sum", value, others, keepdims=False)


def neuron_axis(node: Node, rank: int) -> int:
    """The axis of a reuse layer's input, of the given rank, along which its neurons lie."""
    return rank - 1 if isinstance(node.op, Linear) else 1


def neurons_first(node: Node, array: Array) -> npt.NDArray[np.float64]:
    """A reuse layer's input as [neurons, positions]."""
    values = np.moveaxis(array.astype(np.float64), neuron_axis(node, array.ndim), 0)
    return values.reshape(len(values), -1)


def spread_over(total: int, count: int) -> list[int]:
    """At most `count` of `total` positions, evenly spread."""
    return [round(i) for i in np.linspace(0, total - 1, min(count, total)).tolist()]
