"""onnxruntime on the CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mquans.baselines.fixed_model import recurrent_layers
from mquans.baselines.input_types import in_types, input_types
from mquans.baselines.protocol import Arrays
from mquans.errors import ModelError
from mquans.onnx import explained


class OrtEngine:
    """An `Engine`: one onnxruntime session, all graph optimisations."""

    def __init__(self, name: str, data: bytes, *, model_name: str, threads: int) -> None:
        import onnxruntime as ort

        self.name = name
        self.threads = threads
        self._model = model_name
        self.description = (
            f"onnxruntime {ort.__version__}, CPU, all optimisations, {threads} threads within "
            "a layer, 1 across layers, spinning ends with each frame"
        )
        if name == "ort-int8-dynamic":
            self.description += ", int8 weights, activations quantized frame by frame"
            if layers := recurrent_layers(data):
                self.description += f", {' and '.join(layers)} in fp32"
        self._session = open_session(data, model_name=model_name, threads=threads)
        self._types = input_types(data)
        self._outputs = [output.name for output in self._session.get_outputs()]

    def step(self, feeds: Arrays) -> dict[str, npt.NDArray[np.float32]]:
        """Outputs by name for one frame of inputs by name.

        Raises:
            ModelError: onnxruntime fails on the frame, for instance by its shape.
        """
        typed = in_types(feeds, self._types)
        return run_session(self._session, self._outputs, typed, model_name=self._model)

    def reset(self) -> None:
        """Nothing is kept between frames."""


def open_session(data: bytes, *, model_name: str, threads: int = 1, optimize: bool = True) -> Any:
    """An onnxruntime.InferenceSession over the bytes of a model.

    Args:
        optimize: with all graph optimisations; of tens of thousands of nodes these take a minute.

    Raises:
        ModelError: onnxruntime refuses the model.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    level = ort.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimize else level.ORT_DISABLE_ALL
    # Idle workers would spin on after a frame and slow down whichever engine is measured next.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = 4
    try:
        return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own classes share no public base
        raise ModelError(
            f"onnxruntime cannot load it: {first_line(error)}", where=f"model {model_name!r}"
        ) from error


def run_session(
    session: Any, outputs: Sequence[str], feeds: Mapping[str, Any], *, model_name: str
) -> dict[str, Any]:
    """Outputs by name for one frame.

    Raises:
        ModelError: onnxruntime fails on the frame, for instance by its shape, or since it holds ids
            that the network has no words for.
    """
    try:
        values = session.run(list(outputs), dict(feeds))
    except Exception as error:  # onnxruntime's own classes share no public base
        raise ModelError(
            f"onnxruntime cannot run it: {explained(error)}", where=f"model {model_name!r}"
        ) from error
    return dict(zip(outputs, values, strict=True))


def first_line(error: Exception) -> str:
    """What an engine says went wrong, without its trace of source files."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line for line in lines if line), type(error).__name__)
