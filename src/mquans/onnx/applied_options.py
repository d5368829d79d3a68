"""A model edited as `NetworkOptions` say, before anybody reads or runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import numpy_helper

from mquans.errors import ModelError
from mquans.onnx.carried_state import carry_states
from mquans.onnx.input_shapes import fed_inputs, fixed_type

if TYPE_CHECKING:
    import onnx

    from mquans.onnx.model_file import ModelFile
    from mquans.plan import NetworkOptions


def apply_options(
    model: ModelFile, options: NetworkOptions
) -> tuple[onnx.ModelProto, dict[str, str]]:
    """The model with its constant inputs filled in and its carried states as inputs and outputs.

    The importer and the dense engines work on the same edited model.

    Returns:
        the edited model, and its whole feedback: carried states and what the options name.

    Raises:
        ModelError: a constant is for no input or does not fit it, or a state cannot be carried.
    """
    proto = model.proto()
    _fill_constants(proto, options, f"model {model.name!r}")
    carried: dict[str, str] = {}
    if options.carry_state:
        proto, carried = carry_states(proto, model.name, options.input_shapes)
    return proto, carried | dict(options.feedback)


def whole_feedback(model: ModelFile, options: NetworkOptions) -> dict[str, str]:
    """State inputs by the output that feeds them: carried states and what the options name.

    Raises:
        ModelError: as `apply_options`.
    """
    if not options.carry_state:
        return dict(options.feedback)
    return apply_options(model, options)[1]


def _fill_constants(proto: onnx.ModelProto, options: NetworkOptions, where: str) -> None:
    inputs = {value.name: value for value in fed_inputs(proto)}
    for name, number in options.constants.items():
        if name not in inputs:
            known = ", ".join(map(repr, inputs)) or "none"
            raise ModelError(f"it has no input {name!r}; its inputs are {known}.", where=where)
        kind = fixed_type(inputs[name], options.input_shapes.get(name), {}, where)
        proto.graph.input.remove(inputs[name])
        proto.graph.initializer.append(
            numpy_helper.from_array(_filled(name, number, kind.shape, kind.dtype, where), name)
        )


def _filled(
    name: str, number: float, shape: tuple[int, ...], dtype: str, where: str
) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    """An input of one number everywhere, in the input's own type."""
    plain = np.dtype(dtype)
    if plain.kind not in "biuf" or not _fits(number, plain):
        raise ModelError(f"its input {name!r} takes {dtype}, which {number} is not.", where=where)
    return np.full(shape, number, plain)


def _fits(number: float, dtype: np.dtype[np.generic]) -> bool:
    """True for finite numbers that integers hold exactly, and floats in their precision."""
    try:
        wanted = np.float64(number)
    except (TypeError, ValueError):
        return False
    with np.errstate(all="ignore"):
        held = wanted.astype(dtype)
    return bool(np.isfinite(held) and (dtype.kind == "f" or held == wanted))
