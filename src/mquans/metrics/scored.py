"""Which values of a network a loss is taken of."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mquans.graph import (
    Binary,
    Conv,
    ConvTranspose,
    Graph,
    LayerNorm,
    Linear,
    Node,
    Softmax,
    Transpose,
    Unary,
    ValueType,
)
from mquans.metrics.agreement import channel_axis


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


def scored_axes(graph: Graph, feedback: Mapping[str, str]) -> dict[str, int | None]:
    """Those of `scored`, and the axes of their channels."""
    return channel_axes(graph, scored(graph, feedback))


def channel_axes(graph: Graph, names: Iterable[str]) -> dict[str, int | None]:
    """Axes of the channels of values: of three axes the one along which the layer in front of the
    value lays its features or classes, where it is known; else as `agreement.channel_axis`."""
    producers = graph.producers()
    known: dict[str, int | None] = {}
    found = {}
    for name in names:
        shape = graph.shape(name)
        axis = _axis_of_features(graph, producers, name, known) if len(shape) == 3 else None
        found[name] = channel_axis(shape) if axis is None else axis
    return found


def _axis_of_features(
    graph: Graph, producers: Mapping[str, Node], name: str, known: dict[str, int | None]
) -> int | None:
    """None where no layer in front tells.

    Args:
        known: of values that were asked for before.
    """
    if name in known or name not in producers:
        return known.get(name)
    node, found = producers[name], None
    match node.op:
        case Linear() | LayerNorm():
            found = len(graph.shape(name)) - 1
        case Conv() | ConvTranspose():
            found = 1
        case Softmax(axis):
            found = axis % len(graph.shape(name))
        case Transpose(perm):
            inner = _axis_of_features(graph, producers, node.inputs[0], known)
            found = None if inner is None else perm.index(inner)
        case Unary() | Binary():
            for value in node.inputs:
                if found is None and graph.shape(value) == graph.shape(name):
                    found = _axis_of_features(graph, producers, value, known)
    known[name] = found
    return found


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
