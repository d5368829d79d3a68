"""OpenVINO on the CPU (extra `openvino`)."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import numpy.typing as npt

from mquans.baselines.input_types import in_types, input_types
from mquans.baselines.protocol import Arrays
from mquans.errors import DependencyError, ModelError, MquansError

_PRECISIONS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}
"""Precision of what is not quantized, in OpenVINO's words."""


def require_openvino(precision: str) -> None:
    """Check that OpenVINO is there and this CPU has the precision.

    Raises:
        DependencyError: not installed.
        MquansError: the CPU has no bf16 instructions, where OpenVINO would silently compute fp32.
    """
    if importlib.util.find_spec("openvino") is None:
        raise DependencyError(
            "engine openvino needs the package openvino.",
            hint='Install it with: pip install "mquans[openvino]"',
        )
    import openvino

    if precision == "bf16":
        capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if "BF16" not in capabilities:
            raise MquansError(
                "this CPU has no bf16 instructions.", hint="Compare with openvino-fp32 instead."
            )


class OpenvinoEngine:
    """An `Engine`: one compiled model and one request, tuned for latency."""

    def __init__(self, name: str, data: bytes, *, model_name: str, threads: int) -> None:
        import openvino

        precision = _PRECISIONS[name.removeprefix("openvino-")]
        self.name = name
        self.threads = threads
        self._model = model_name
        self.description = (
            f"openvino {openvino.__version__.split('-')[0]}, CPU, latency hint, 1 stream, "
            f"{threads} threads, precision {precision}"
            + (", model quantized by onnxruntime" if name.endswith("int8") else "")
        )
        core = openvino.Core()
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": precision,
        }
        try:
            compiled = core.compile_model(core.read_model(data), "CPU", options)
        except RuntimeError as error:
            raise self._failure("load", error) from error
        self._request: Any = compiled.create_infer_request()
        self._types = input_types(data)
        # OpenVINO keeps the order of the model's outputs, but may list several names for one.
        declared = _output_names(data)
        self._outputs = list(zip(declared, compiled.outputs, strict=True))

    def step(self, feeds: Arrays) -> dict[str, npt.NDArray[np.float32]]:
        """Outputs by name for one frame of inputs by name; copies, not views of the request.

        Raises:
            ModelError: OpenVINO fails on the frame, for instance by its shape.
        """
        try:
            results = self._request.infer(in_types(feeds, self._types), share_inputs=True)
        except RuntimeError as error:
            raise self._failure("run", error) from error
        return {name: np.array(results[port]) for name, port in self._outputs}

    def reset(self) -> None:
        """Nothing is kept between frames."""

    def _failure(self, verb: str, error: RuntimeError) -> ModelError:
        """The last line says why; those before it are OpenVINO's own source positions."""
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return ModelError(
            f"OpenVINO cannot {verb} it: {lines[-1] if lines else 'no reason given'}",
            where=f"model {self._model!r}",
        )


def _output_names(data: bytes) -> list[str]:
    import onnx

    return [value.name for value in onnx.load_model_from_string(data).graph.output]
