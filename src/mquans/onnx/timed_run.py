"""One run of onnxruntime that ends in time, whatever loops the model has."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnxruntime

UNBOUNDED = frozenset({"Loop", "Scan", "If", "SequenceMap"})
"""Operators that hold whole graphs, which may run as often as data says."""


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
