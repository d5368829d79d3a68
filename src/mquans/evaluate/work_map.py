"""Where in the picture work was done."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mquans.graph import Graph
from mquans.runtime.stream import Stream


class WorkMap:
    """MACs per pixel of the network's input, summed over layers and frames.

    A changed input of a layer costs, on average, the layer's MACs over its inputs; its pixel is
    spread over the part of the picture that it stands for.

    Attributes:
        total: float64 [height, width].
    """

    def __init__(self, graph: Graph, height: int, width: int) -> None:
        self.total = np.zeros((height, width))
        self._layers = [
            node.name for node in graph.reuse_layers() if len(graph.shape(node.inputs[0])) == 4
        ]

    def add(self, stream: Stream) -> None:
        """Adds the last frame of a stream."""
        costs = {layer.name: layer for layer in stream.stats.layers}
        for name in self._layers:
            cost = costs[name]
            if cost.changed:
                changed = stream.change_map(name).astype(np.float64)
                self.total += self._spread(changed * (cost.macs / cost.inputs))

    def _spread(self, pixels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """A map [rows, columns] stretched over the picture; its sum is kept."""
        height, width = self.total.shape
        rows = np.arange(height) * pixels.shape[0] // height
        columns = np.arange(width) * pixels.shape[1] // width
        share = pixels.size / (height * width)
        return np.asarray(pixels[rows[:, None], columns[None, :]] * share)
