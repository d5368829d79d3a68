"""The dense network that losses are taken against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy.typing as npt

from mquans.baselines.engines import load_engine, open_engine
from mquans.baselines.protocol import Arrays, Engine
from mquans.metrics.scored import inner_values

if TYPE_CHECKING:
    from mquans.graph import Graph
    from mquans.onnx.model_file import ModelFile
    from mquans.plan import NetworkOptions

REFERENCE = "ort-fp32"


def open_reference(
    model: ModelFile, graph: Graph, options: NetworkOptions, *, threads: int = 1
) -> Engine:
    """`ort-fp32`. Where a loss is taken of values that are no outputs (`metrics.scored`), as the
    sizes of these depend on the data, a step returns them too.

    Args:
        graph: the imported model.
        options: with the shape of every input and the whole feedback.

    Raises:
        ModelError: as `open_engine`.
    """
    dense = open_engine(REFERENCE, model, options, threads=threads)
    inner = inner_values(graph, options.feedback)
    if not inner:
        return dense
    return _Joined(dense, open_values(graph, inner, options, threads=threads))


def open_values(
    graph: Graph, values: Sequence[str], options: NetworkOptions, *, threads: int = 1
) -> Engine:
    """Values of a graph in float32, as a dense engine whose outputs they are."""
    from mquans.onnx.writer import to_onnx

    states = options.feedback.values()
    data = to_onnx(graph, outputs=[*values, *states]).SerializeToString()
    return load_engine(
        REFERENCE, data, model_name=graph.name, threads=threads, feedback=options.feedback
    )


class _Joined:
    """An `Engine`: one that is followed by another, which has more outputs of the same network."""

    def __init__(self, engine: Engine, more: Engine) -> None:
        self.name = engine.name
        self.threads = engine.threads
        self.description = engine.description
        self._engines = (engine, more)

    def step(self, feeds: Arrays) -> dict[str, npt.NDArray[Any]]:
        """Outputs by name, then those of the other."""
        first, second = (engine.step(feeds) for engine in self._engines)
        return first | second

    def reset(self) -> None:
        """Begin a new stream with both."""
        for engine in self._engines:
            engine.reset()
