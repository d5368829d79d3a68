"""What a dense engine is, and how one is opened by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from mquans.errors import MquansError

if TYPE_CHECKING:
    from mquans.importers.model_file import ModelFile

Arrays = Mapping[str, npt.NDArray[Any]]

ENGINES: tuple[str, ...] = (
    "ort-fp32",
    "ort-int8",
    "openvino-fp32",
    "openvino-bf16",
    "openvino-int8",
)


@runtime_checkable
class Engine(Protocol):
    """A network that is computed anew for every frame.

    Attributes:
        name: one of `ENGINES`.
        threads: number of threads it computes with.
        description: version and options, for reports: what was measured.
    """

    name: str
    threads: int
    description: str

    def step(self, feeds: Arrays) -> dict[str, npt.NDArray[np.float32]]:
        """Outputs by name, in the model's order, for one frame of inputs by name."""


def open_engine(
    name: str,
    model: ModelFile,
    *,
    input_shapes: Mapping[str, tuple[int, ...]],
    threads: int = 1,
    calibration: Sequence[Arrays] = (),
) -> Engine:
    """Load a network into a dense engine, with every optimisation the engine offers.

    Args:
        name: one of `ENGINES`. The int8 engines run the same model, quantized statically with one
            scale per weight channel.
        input_shapes: fixed shape of every input; overrides what the model declares.
        threads: used inside one layer; layers run one after the other.
        calibration: feeds that the int8 engines take their ranges from.

    Raises:
        DependencyError: the engine's package is not installed.
        ModelError: the engine cannot run the model.
        MquansError: no such engine, this CPU lacks what it needs, or int8 without calibration.
    """
    if name not in ENGINES:
        raise MquansError(
            f"there is no engine {name!r}.", hint=f"Engines are: {', '.join(ENGINES)}."
        )
    if threads < 1:
        raise MquansError(f"an engine needs at least 1 thread, not {threads}.")
    # Loaded by need: each of them imports a large package.
    from mquans.baselines.fixed_model import with_fixed_shapes

    if name.startswith("openvino"):
        from mquans.baselines.openvino_engine import OpenvinoEngine, require_openvino

        require_openvino(precision=name.removeprefix("openvino-"))
    data = with_fixed_shapes(model, input_shapes)
    if name.endswith("int8"):
        from mquans.baselines.int8 import quantize

        data = quantize(data, calibration, model_name=model.name)
    if name.startswith("openvino"):
        return OpenvinoEngine(name, data, model_name=model.name, threads=threads)
    from mquans.baselines.ort_engine import OrtEngine

    return OrtEngine(name, data, model_name=model.name, threads=threads)
