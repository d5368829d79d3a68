"""Stage 1: the range of every neuron, from the dense network on calibration frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mquans.baselines.ort_engine import open_session
from mquans.evaluate import Feeds, Track, silent
from mquans.graph import Graph, Linear, Node
from mquans.importers import to_onnx

Values = npt.NDArray[np.float32]


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


def observe(
    graph: Graph, frames: Sequence[Feeds], *, threads: int = 1, track: Track = silent
) -> dict[str, LayerRange]:
    """Runs frames through onnxruntime with the inputs of all reuse layers exposed.

    Args:
        graph: an imported network.
        frames: feeds by input name.

    Returns:
        Ranges by layer name.
    """
    layers = list(graph.reuse_layers())
    exposed = list(dict.fromkeys(node.inputs[0] for node in layers))
    computed = [value for value in exposed if value not in graph.inputs]
    session = None
    if computed:
        model = to_onnx(graph, outputs=computed).SerializeToString()
        session = open_session(model, model_name=graph.name, threads=threads)
    needed = {value.name for value in session.get_inputs()} if session else set()
    ranges: dict[str, LayerRange] = {}
    for feeds in track(frames, "observing", len(frames)):
        values = dict(feeds)
        if session is not None:
            used = {name: value for name, value in feeds.items() if name in needed}
            values |= dict(zip(computed, session.run(computed, used), strict=True))
        for node in layers:
            low, high = _extremes(node, values[node.inputs[0]])
            if node.name in ranges:
                ranges[node.name].include(low, high)
            else:
                ranges[node.name] = LayerRange(low, high)
    return ranges


def _extremes(node: Node, value: Values) -> tuple[Values, Values]:
    """Least and largest value per neuron of a layer's input."""
    neuron_axis = value.ndim - 1 if isinstance(node.op, Linear) else 1
    others = tuple(axis for axis in range(value.ndim) if axis != neuron_axis)
    return value.min(axis=others), value.max(axis=others)
