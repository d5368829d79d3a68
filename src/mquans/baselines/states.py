"""Dense engines on recurrent networks: states handed from frame to frame."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mquans.baselines.protocol import Arrays
from mquans.errors import ModelError
from mquans.plan import Feedback

if TYPE_CHECKING:
    from mquans.baselines.protocol import Engine


class StatefulEngine:
    """An `Engine`: another one whose states are its own business.

    Args:
        engine: takes and returns the states as inputs and outputs.
        feedback: state inputs by the output that feeds them.
        data: the ONNX file that the engine runs, with fixed input shapes.

    Raises:
        ModelError: the feedback names what is no input or output.
    """

    def __init__(
        self, engine: Engine, feedback: Mapping[str, str], data: bytes, *, model_name: str
    ) -> None:
        self.name = engine.name
        self.threads = engine.threads
        self.description = engine.description
        self._engine = engine
        self._states = _states(feedback, data, model_name)

    def step(self, feeds: Arrays) -> dict[str, npt.NDArray[np.float32]]:
        """Outputs by name, states included, for one frame of inputs by name, states left out.

        Raises:
            ModelError: as the engine behind; or an output has another size than its state.
        """
        outputs = self._engine.step(self._states.fill(feeds))
        self._states.keep(outputs)
        return outputs

    def reset(self) -> None:
        """Begin a new stream, with zero states."""
        self._engine.reset()
        self._states.reset()


def with_states(
    frames: Iterable[Arrays], feedback: Mapping[str, str], data: bytes, *, model_name: str
) -> list[dict[str, npt.NDArray[Any]]]:
    """Consecutive frames with the states that the dense network has at each of them.

    Raises:
        ModelError: as `StatefulEngine` and its steps.
    """
    from mquans.baselines.ort_engine import OrtEngine

    states = _states(feedback, data, model_name)
    engine = OrtEngine("ort-fp32", data, model_name=model_name, threads=1)
    result = []
    for frame in frames:
        result.append(states.fill(frame))
        states.keep(engine.step(result[-1]))
    return result


def _states(feedback: Mapping[str, str], data: bytes, model_name: str) -> Feedback:
    import onnx

    graph = onnx.load_model_from_string(data).graph
    shapes = {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in graph.input
    }
    outputs = {value.name for value in graph.output}
    for name, output in feedback.items():
        if name not in shapes or output not in outputs:
            raise ModelError(
                f"{name!r} is not an input, or {output!r} not an output of it.",
                where=f"model {model_name!r}",
                hint="Feedback names a state input and the output that feeds it.",
            )
    return Feedback(feedback, shapes)
