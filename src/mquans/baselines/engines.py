"""Opening a dense engine by its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mquans.baselines.protocol import Arrays, Engine
from mquans.errors import MquansError

if TYPE_CHECKING:
    from mquans.baselines.int8 import Form
    from mquans.onnx.model_file import ModelFile
    from mquans.plan import NetworkOptions

ENGINES: tuple[str, ...] = (
    "ort-fp32",
    "ort-int8",
    "ort-int8-qoperator",
    "ort-int8-dynamic",
    "openvino-fp32",
    "openvino-bf16",
    "openvino-int8",
    "gated",
)

CALIBRATED = frozenset({"ort-int8", "ort-int8-qoperator", "openvino-int8", "gated"})
"""Engines that take something from calibration frames: ranges, or what counts as motion."""


def open_engine(
    name: str,
    model: ModelFile,
    options: NetworkOptions,
    *,
    threads: int = 1,
    calibration: Sequence[Arrays] = (),
) -> Engine:
    """Load a network into a dense engine, with every optimisation the engine offers.

    Args:
        name: one of `ENGINES`. The int8 engines run the same model, quantized statically with one
            scale per weight channel; `ort-int8` as QDQ pairs, `ort-int8-qoperator` as integer
            operators; `ort-int8-dynamic` takes the ranges of activations from each frame; `gated`
            is `ort-fp32` behind a motion gate.
        options: how the model is to be run, with the shape of every input.
        threads: used inside one layer; layers run one after the other.
        calibration: feeds that the engines in `CALIBRATED` learn from.

    Raises:
        DependencyError: the engine's package is not installed.
        ModelError: the engine cannot run the model.
        MquansError: no such engine, this CPU lacks what it needs, no calibration where it is
            needed, or a network with states for `gated`.
    """
    data, feedback = _prepare(name, model, options, calibration)
    if name == "gated":
        from mquans.baselines.gated import GatedEngine, default_gate

        gate = default_gate(calibration)
        dense = load_engine("ort-fp32", data, model_name=model.name, threads=threads)
        return GatedEngine(dense, gate)
    return load_engine(name, data, model_name=model.name, threads=threads, feedback=feedback)


def prepare_model(
    name: str,
    model: ModelFile,
    options: NetworkOptions,
    *,
    calibration: Sequence[Arrays] = (),
) -> bytes:
    """The ONNX file that an engine loads: shapes fixed, weights constant, int8 where it says so.

    Arguments and errors as `open_engine`.
    """
    return _prepare(name, model, options, calibration)[0]


def _prepare(
    name: str, model: ModelFile, options: NetworkOptions, calibration: Sequence[Arrays]
) -> tuple[bytes, dict[str, str]]:
    """The file that an engine loads, and its feedback."""
    if name not in ENGINES:
        raise MquansError(
            f"there is no engine {name!r}.", hint=f"Engines are: {', '.join(ENGINES)}."
        )
    # Loaded by need: each of them imports a large package.
    from mquans.baselines.fixed_model import fixed_model
    from mquans.baselines.input_types import in_types, input_types

    if name.startswith("openvino"):
        from mquans.baselines.openvino_engine import require_openvino

        require_openvino(precision=name.removeprefix("openvino-"))
    data, feedback = fixed_model(model, options)
    if name == "gated" and feedback:
        raise MquansError(
            "engine gated repeats outputs of quiet frames, but the states of this network move on "
            "with every frame.",
            hint="Leave gated out of --engines.",
        )
    types = input_types(data)
    calibration = [in_types(feeds, types) for feeds in calibration]
    if name == "ort-int8-dynamic":
        from mquans.baselines.int8 import quantize_dynamic

        data = quantize_dynamic(data, model_name=model.name)
    elif "int8" in name:
        from mquans.baselines.int8 import quantize
        from mquans.baselines.states import with_states

        form: Form = "QOperator" if name.endswith("qoperator") else "QDQ"
        if feedback:
            calibration = with_states(calibration, feedback, data, model_name=model.name)
        data = quantize(data, calibration, form=form, model_name=model.name)
    return data, feedback


def load_engine(
    name: str,
    data: bytes,
    *,
    model_name: str,
    threads: int = 1,
    feedback: Mapping[str, str] | None = None,
) -> Engine:
    """An engine over what `prepare_model` made for it; `gated` has no model of its own.

    Args:
        feedback: of the whole network, from `mquans.onnx.whole_feedback`.

    Raises:
        ModelError: the engine cannot run the model.
    """
    if threads < 1:
        raise MquansError(f"an engine needs at least 1 thread, not {threads}.")
    engine: Engine
    if name.startswith("openvino"):
        from mquans.baselines.openvino_engine import OpenvinoEngine

        engine = OpenvinoEngine(name, data, model_name=model_name, threads=threads)
    else:
        from mquans.baselines.ort_engine import OrtEngine

        engine = OrtEngine(name, data, model_name=model_name, threads=threads)
    if not feedback:
        return engine
    from mquans.baselines.states import StatefulEngine

    return StatefulEngine(engine, feedback, data, model_name=model_name)
