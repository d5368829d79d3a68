"""Inputs of layers as the dense network has them, on the grid of a plan."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from mquans.calibration.observe import DenseRun
from mquans.graph import Conv, ConvTranspose, Recurrence
from mquans.runtime.session import Session
from mquans.sources.frames import Feeds
from mquans_studies.traces.layer_shape import layer_geometry

Codes = npt.NDArray[np.int16]


class PlainInputs:
    """The dense network on onnxruntime, frame by frame. Recurrent layers are left out: they read
    states, not inputs."""

    def __init__(self, session: Session) -> None:
        graph, plan = session.graph, session.plan
        self._layers = [
            node for node in graph.reuse_layers() if not isinstance(node.op, Recurrence)
        ]
        self._shapes = {node.name: layer_geometry(graph, node).shape for node in self._layers}
        self._deltas = {
            node.name: np.asarray(plan.layer(node.name).delta, np.float64) for node in self._layers
        }
        tensors = [node.inputs[0] for node in self._layers]
        self._run = DenseRun(graph, plan.feedback, threads=session.threads, tensors=tensors)

    def of(self, feeds: Feeds) -> Mapping[str, Codes]:
        """Of a frame, by layer: [rows, width, channels]."""
        values = self._run(feeds)
        found = {}
        for node in self._layers:
            array, shape = values[node.inputs[0]], self._shapes[node.name]
            if isinstance(node.op, Conv | ConvTranspose):
                array = np.moveaxis(array, 1, -1)
            pixels = array.reshape(shape.rows, shape.width, shape.channels)
            codes = np.rint(pixels / self._deltas[node.name])
            found[node.name] = np.clip(codes, -(2**15), 2**15 - 1).astype(np.int16)
        return found
