"""Which outputs of a network a loss is taken of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mquans.graph import Graph


def scored(graph: Graph, feedback: Mapping[str, str]) -> tuple[str, ...]:
    """Outputs that a loss is taken of: those whose values can be compared one by one, and that do
    more than carry a state to the next frame.

    Args:
        feedback: state input by the output that feeds it (`Plan.feedback`).
    """
    fixed = [name for name in graph.outputs if min(graph.types[name].shape, default=0) >= 0]
    return without_states(fixed, feedback)


def without_states(outputs: Iterable[str], feedback: Mapping[str, str]) -> tuple[str, ...]:
    """Those that are no states, unless there are no others. What a wrong state does to the others
    is counted there."""
    names, states = tuple(outputs), set(feedback.values())
    return tuple(name for name in names if name not in states) or names
