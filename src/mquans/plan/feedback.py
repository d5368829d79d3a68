"""States that a network takes as inputs and returns as outputs, handed from frame to frame."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from mquans.errors import ModelError
from mquans.files import printable
from mquans.graph.graph import Graph

Arrays = Mapping[str, npt.NDArray[np.float32]]
Array = TypeVar("Array", bound=npt.NDArray[Any])


def problem_with_feedback(feedback: Mapping[str, str], graph: Graph) -> str | None:
    """One sentence on why outputs cannot feed inputs so; None when they can."""
    for name, output in feedback.items():
        if name not in graph.inputs or output not in graph.outputs:
            return (
                f"{printable(name)!r} is not an input, or {printable(output)!r} not an output of "
                "the model."
            )
        kind, last = graph.types[name], graph.types[output]
        if math.prod(kind.shape) != math.prod(last.shape):
            return (
                f"the state {printable(name)!r} has shape {list(kind.shape)}, but "
                f"{printable(output)!r}, which is to feed it, {list(last.shape)}."
            )
        if graph.dtype(name) != graph.dtype(output):
            return (
                f"the state {printable(name)!r} has type {graph.dtype(name)}, but "
                f"{printable(output)!r}, which is to feed it, {graph.dtype(output)}."
            )
    if graph.inputs and feedback.keys() >= set(graph.inputs):
        return "every input is a state, which leaves none for the frames of a stream."
    return None


class Feedback:
    """The states of one stream of a network.

    Args:
        feedback: state input by the output that feeds it, as `Plan.feedback` has it.
        shapes: of every input of the network.
    """

    def __init__(self, feedback: Mapping[str, str], shapes: Mapping[str, Sequence[int]]) -> None:
        self._feedback = dict(feedback)
        self._start = {name: np.zeros(shapes[name], np.float32) for name in feedback}
        self._states = self._start

    def fill(self, frame: Mapping[str, Array]) -> dict[str, Array | npt.NDArray[np.float32]]:
        """A frame with the states that it does not bring itself; zeros before the first."""
        return {**self._states, **frame}

    def keep(self, outputs: Arrays) -> None:
        """Copy the states for the next frame from the outputs of this one.

        Raises:
            ModelError: an output has another size than the state that it feeds.
        """
        states = {}
        for name, output in self._feedback.items():
            state, shape = np.array(outputs[output], np.float32), self._start[name].shape
            if state.size != math.prod(shape):
                raise ModelError(
                    f"the state {name!r} has shape {list(shape)}, but {output!r}, which is to feed "
                    f"it, {list(state.shape)}."
                )
            states[name] = state.reshape(shape)
        self._states = states

    def anew(self) -> Feedback:
        """Those of another stream of the network, which begins."""
        other = copy(self)
        other.reset()
        return other

    def reset(self) -> None:
        """Begin with zeros again."""
        self._states = self._start
