"""One run of onnxruntime that ends in time, whatever loops the model has."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import onnx

if TYPE_CHECKING:
    import onnxruntime

LOOPS = frozenset({"Loop", "Scan", "SequenceMap"})
"""Operators that run a graph as often as data says."""


def may_not_end(model: onnx.ModelProto) -> bool:
    """True for a model with a loop, be it in a branch or in a local function."""
    nodes = [node for function in model.functions for node in function.node]
    nodes += model.graph.node
    while nodes:
        node = nodes.pop()
        if node.op_type in LOOPS:
            return True
        for attribute in node.attribute:
            nodes += attribute.g.node
            nodes += (each for graph in attribute.graphs for each in graph.node)
    return False


def shrinking_options() -> onnxruntime.RunOptions:
    """A run without log that gives back the memory that it took."""
    import onnxruntime

    options = onnxruntime.RunOptions()
    options.log_severity_level = 4
    options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return options


class OutOfTimeError(Exception):
    """A run took longer than it may."""


def run_timed(
    session: onnxruntime.InferenceSession,
    outputs: Sequence[str],
    feeds: Mapping[str, Any],
    seconds: float,
) -> list[Any]:
    """What `session.run` returns.

    Raises:
        OutOfTimeError: it was stopped after so many seconds, between two operators.
    """
    options = shrinking_options()
    timer = threading.Timer(seconds, lambda: setattr(options, "terminate", True))
    timer.daemon = True
    timer.start()
    try:
        return list(session.run(list(outputs), dict(feeds), options))
    except Exception:
        if options.terminate:
            raise OutOfTimeError from None
        raise
    finally:
        timer.cancel()


class OpenFallback:
    """A fallback subgraph that is ready to run."""

    def __init__(self, model: bytes, threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )
        # Watching takes a thread, and longer than small subgraphs.
        self._timed = may_not_end(onnx.load_model_from_string(model))

    def run(self, outputs: Sequence[str], feeds: Mapping[str, Any], seconds: float) -> list[Any]:
        """The outputs.

        Raises:
            OutOfTimeError: a loop took longer than so many seconds.
        """
        if self._timed:
            return run_timed(self._session, outputs, feeds, seconds)
        return list(self._session.run(list(outputs), dict(feeds)))
