"""Guessing which outputs of a network are states that feed its inputs in the next frame."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import numpy as np

from mquans.graph import Graph, Node, Recurrence, Reshape

BEFORE = ("in", "input", "prev", "previous", "old", "last", "past", "init", "initial")
AFTER = ("out", "output", "new", "next", "present", "last", "final", "updated", "n")
"""What names of states before and after a frame add to a common stem, as in h_in and h_out."""

PICTURE_SIDE = 16
"""Inputs of shape [B, 1 or 3, H, W] with sides from here on are pictures, not states."""

Pairs = dict[str, str]


def guess_feedback(graph: Graph) -> dict[str, str]:
    """State inputs by the output that feeds them.

    Found are states that go straight into and out of a recurrence, names that belong together
    (state and stateN, h and hn, h_in and h_out), and last shapes that only one input and one output
    have. The first input with the first output is the frame and its result, never a state; an
    input or output that could be paired in two ways is left out.
    """
    found: Pairs = {}
    for matches in (_by_recurrence(graph), _by_name, _by_shape(graph)):
        inputs = [name for name in graph.inputs if name not in found]
        outputs = [name for name in graph.outputs if name not in found.values()]
        pairs = [
            (name, output)
            for name in inputs
            for output in outputs
            if _could_be(graph, name, output) and matches(name, output)
        ]
        found |= _unambiguous(pairs)
    # One input at least is the frame.
    return found if len(found) < len(graph.inputs) else {}


def _could_be(graph: Graph, name: str, output: str) -> bool:
    kind, result = graph.types[name], graph.types[output]
    if {kind.dtype, result.dtype} != {"float32"} or kind.size != result.size:
        return False
    return name != graph.inputs[0] or output != graph.outputs[0]


def _unambiguous(pairs: list[tuple[str, str]]) -> Pairs:
    inputs = [name for name, _ in pairs]
    outputs = [output for _, output in pairs]
    return {
        name: output
        for name, output in pairs
        if inputs.count(name) == 1 and outputs.count(output) == 1
    }


def _by_recurrence(graph: Graph) -> Callable[[str, str], bool]:
    """The input is the first h or c of a recurrence, and the output its last one."""
    producers = graph.producers()

    def source(value: str) -> str:
        while (node := producers.get(value)) is not None and isinstance(node.op, Reshape):
            value = node.inputs[0]
        return value

    def states(node: Node) -> Iterator[tuple[str, str]]:
        for given, last in zip(node.inputs[3:5], node.outputs[1:], strict=False):
            yield source(given), last

    ends = {
        pair for node in graph.nodes if isinstance(node.op, Recurrence) for pair in states(node)
    }
    return lambda name, output: (name, source(output)) in ends


def _by_name(name: str, output: str) -> bool:
    return not _stems(name, BEFORE, ("0",)).isdisjoint(_stems(output, AFTER, ("n", "N", "1")))


def _stems(name: str, affixes: tuple[str, ...], endings: tuple[str, ...]) -> set[str]:
    """The name, and what is left of it without one affix or ending; a stem has a letter."""
    stems = {name.lower()}
    words = "|".join(affixes)
    for pattern in (rf"^({words})[_.:/-](.+)$", rf"^(.+)[_.:/-]({words})$"):
        if match := re.match(pattern, name.lower()):
            stems |= set(match.groups()) - set(affixes)
    # stateOut, but not throughput.
    if match := re.match(r"^(.*[a-z0-9])([A-Z][a-z]+)$", name):
        stems |= {match[1].lower()} if match[2].lower() in affixes else set()
    stems |= {name[: -len(end)].lower() for end in endings if name.endswith(end)}
    return {stem for stem in stems if re.search("[a-z]", stem)}


def _by_shape(graph: Graph) -> Callable[[str, str], bool]:
    """Neither is the first of its kind, and they have one shape, which is not that of a picture.
    Integers are no states but counts, such as the lengths of sounds."""

    def matches(name: str, output: str) -> bool:
        shape = graph.shape(name)
        if not np.issubdtype(graph.dtype(name), np.floating):
            return False
        is_picture = len(shape) == 4 and shape[1] in (1, 3) and min(shape[2:]) >= PICTURE_SIDE
        is_first = name == graph.inputs[0] or output == graph.outputs[0]
        return not is_first and not is_picture and shape == graph.shape(output)

    return matches
