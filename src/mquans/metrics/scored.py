"""Which values of a network a loss is taken of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mquans.graph import Graph, ValueType


def scored(graph: Graph, feedback: Mapping[str, str]) -> tuple[str, ...]:
    """Values that a loss is taken of: outputs that can be compared value by value and do more than
    carry a state to the next frame; where the sizes of all others depend on the data, the last
    values of a known size in front of them.

    Args:
        feedback: state input by the output that feeds it (`Plan.feedback`).
    """
    others = [name for name in graph.outputs if name not in set(feedback.values())]
    fixed = [name for name in graph.outputs if _is_fixed(graph.types[name])]
    if others and not set(others) & set(fixed) and (last := _last_fixed(graph, others)):
        return last
    return without_states(fixed, feedback)


def inner_values(graph: Graph, feedback: Mapping[str, str]) -> tuple[str, ...]:
    """Those of `scored` that are no outputs."""
    return tuple(name for name in scored(graph, feedback) if name not in graph.outputs)


def without_states(outputs: Iterable[str], feedback: Mapping[str, str]) -> tuple[str, ...]:
    """Those that are no states, unless there are no others. What a wrong state does to the others
    is counted there."""
    names, states = tuple(outputs), set(feedback.values())
    return tuple(name for name in names if name not in states) or names


def _is_fixed(kind: ValueType) -> bool:
    return min(kind.shape, default=0) >= 0


def _last_fixed(graph: Graph, outputs: Iterable[str]) -> tuple[str, ...]:
    """Going back from outputs, the first float values of a known size that are computed, in the
    network's order. Fallback subgraphs read them: all others make and read nothing else."""
    producers = graph.producers()
    found, seen, waiting = set[str](), set[str](), list(outputs)
    while waiting:
        node = producers.get(waiting.pop())
        for name in () if node is None else set(node.inputs) - seen:
            seen.add(name)
            kind = graph.types.get(name)
            if kind is None or kind.dtype != "float32" or not _is_fixed(kind):
                waiting.append(name)
            else:
                found.add(name)
    return tuple(name for name in producers if name in found)
