"""States that a network takes as inputs and returns as outputs, handed from frame to frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Arrays = Mapping[str, npt.NDArray[np.float32]]


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

    def fill(self, frame: Arrays) -> dict[str, npt.NDArray[np.float32]]:
        """A frame with the states that it does not bring itself; zeros before the first."""
        return {**self._states, **frame}

    def keep(self, outputs: Arrays) -> None:
        """Take the states for the next frame from the outputs of this one."""
        self._states = {
            name: np.asarray(outputs[output]).reshape(self._start[name].shape)
            for name, output in self._feedback.items()
        }

    def reset(self) -> None:
        """Begin with zeros again."""
        self._states = self._start
