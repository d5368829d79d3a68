"""What a plan must fulfil beyond its types: in itself, and for the network it is used with."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator

import msgspec
import numpy as np

from mquans.errors import PlanError
from mquans.files import printable
from mquans.graph.graph import Graph
from mquans.plan.audio import AudioFormat, problem_with_audio
from mquans.plan.feedback import problem_with_feedback
from mquans.plan.schema import FORMAT, VERSION, InputFormat, LayerPlan, Plan

MIN_DELTA = 2.0**-100
MAX_DELTA = 2.0**100
"""Grid units whose reciprocal, and whose product with any grid value, are normal float32 numbers.
"""

MAX_ELEMENTS = 2**28
"""Of one network input; 1 GiB as float32. More is an accident or an attack."""


def check_version(version: int) -> None:
    """Refuse plans that this version of mquans cannot know the meaning of, or no longer runs.

    Raises:
        PlanError
    """
    if version > VERSION:
        raise PlanError(
            f"the plan has format version {version}, made by a newer mquans; this one reads "
            f"{VERSION}.",
            hint="Upgrade mquans, or calibrate again with this one.",
        )
    if version == 1:
        raise PlanError(
            f"the plan has format version 1, made by an earlier mquans; this one reads {VERSION}.",
            hint="Calibrate again.",
        )
    if version != VERSION:
        raise PlanError(f"there is no plan format version {version}.")


def check_values(plan: Plan) -> None:
    """Check everything that can be said of a plan without its network.

    Types and ranges are checked again, since plans are also built in Python, where msgspec does
    not look at them.

    Raises:
        PlanError: names the field.
    """
    try:
        msgspec.convert(msgspec.to_builtins(plan, enc_hook=plain_number), Plan)
    except (msgspec.ValidationError, TypeError, NotImplementedError) as error:
        raise PlanError(f"not a valid plan: {describe(error)}.") from error
    if plan.format != FORMAT:
        raise PlanError(f"not a plan: its format is {printable(plan.format)!r}.")
    check_version(plan.version)
    for name, shape in plan.input_shapes.items():
        if math.prod(shape) > MAX_ELEMENTS:
            raise PlanError(
                f"input {printable(name)!r} would have more than {MAX_ELEMENTS} elements.",
                where="input_shapes",
            )
    for name, number in plan.constants.items():
        if not math.isfinite(number):
            raise PlanError(f"{printable(name)!r} must be finite, not {number}.", where="constants")
    if plan.input is not None and (problem := problem_with(plan.input)):
        raise PlanError(problem, where="input")
    if plan.audio is not None and (problem := problem_with(plan.audio)):
        raise PlanError(problem, where="audio")
    if plan.input is not None and plan.audio is not None:
        raise PlanError("the plan prepares both pictures (input) and sound (audio).")
    seen: set[str] = set()
    for index, layer in enumerate(plan.layers):
        where = f"layers[{index}] {printable(layer.name)!r}"
        if layer.name in seen:
            raise PlanError("the layer appears twice.", where=where)
        seen.add(layer.name)
        for problem in _layer_problems(layer, plan.grid_bits):
            raise PlanError(problem, where=where)
    times = Counter(tensor.name for tensor in plan.tensors)
    if repeated := [name for name, count in times.items() if count > 1]:
        raise PlanError(f"tensors appear twice: {listed(repeated)}.", where="tensors")


def check_model(plan: Plan, model_sha256: str) -> None:
    """Check a plan in itself, and that it was made for this model file; needed before the model is
    read as the plan says.

    Raises:
        PlanError: names the field, or the model that the plan was made for.
    """
    check_values(plan)
    if plan.model_sha256 != model_sha256:
        raise PlanError(
            f"the plan was made for another model: {printable(plan.model)!r} with hash "
            f"{plan.model_sha256[:12]}, not {model_sha256[:12]}.",
            hint="Use the model that the plan was made with, or calibrate again.",
        )


def check_plan(plan: Plan, graph: Graph, *, model_sha256: str) -> None:
    """Check that a plan was made for this network.

    Args:
        graph: the network, imported with `plan.input_shapes`.
        model_sha256: of the model file the graph comes from.

    Raises:
        PlanError: the model changed, or input shapes, layers or numbers of neurons differ.
    """
    check_model(plan, model_sha256)
    again = "Calibrate again with this model."
    if set(plan.input_shapes) != set(graph.inputs):
        raise PlanError(
            f"the plan gives shapes for inputs {listed(plan.input_shapes)}, but the model has "
            f"{listed(graph.inputs)}.",
            hint=again,
        )
    for name, planned in plan.input_shapes.items():
        if planned != graph.shape(name):
            raise PlanError(
                f"the plan was made for input shape {list(planned)}, but the model runs with "
                f"{list(graph.shape(name))}.",
                where=printable(name),
                hint=again,
            )
    if problem := problem_with_feedback(plan.feedback, graph):
        raise PlanError(problem, where="feedback", hint=again)
    _check_preparation(plan)
    neurons = {node.name: graph.neurons(node) for node in graph.reuse_layers()}
    planned_names = {layer.name for layer in plan.layers}
    missing = neurons.keys() - planned_names
    # Layers over sites need no entries where there are tensors: the engine knows which these are.
    if missing and not plan.tensors:
        raise PlanError(f"the plan lacks layers of the model: {listed(missing)}.", hint=again)
    if extra := planned_names - neurons.keys():
        raise PlanError(f"the plan has layers that the model lacks: {listed(extra)}.", hint=again)
    for layer in plan.layers:
        for field in ("delta", "bits"):
            values = getattr(layer, field)
            if isinstance(values, tuple) and len(values) != neurons[layer.name]:
                raise PlanError(
                    f"the plan has {field} for {len(values)} neurons, but the layer has "
                    f"{neurons[layer.name]}.",
                    where=printable(layer.name),
                    hint=again,
                )


def problem_with(format: InputFormat | AudioFormat) -> str | None:
    """One sentence on what makes a format of pictures or sound unusable; None when it is sound."""
    if isinstance(format, AudioFormat):
        if math.prod(format.shape) > MAX_ELEMENTS:
            return f"frames of {math.prod(format.shape)} values are larger than can be prepared."
        return problem_with_audio(format)
    channels = format.channels
    if min(format.width, format.height) < 1:
        return f"there are no pictures of {format.width}x{format.height}."
    if min(format.window, format.hop) < 1:
        return f"there are no windows of {format.window} pictures every {format.hop}."
    if math.prod(format.shape) > MAX_ELEMENTS:
        several = f"{format.window} " if format.window > 1 else ""
        return (
            f"{several}pictures of {format.width}x{format.height} are larger than can be prepared."
        )
    if "t" not in format.layout and (format.window, format.hop) != (1, 1):
        return f"windows of pictures need a layout with an axis t, not {format.layout}."
    if not math.isfinite(format.scale):
        return f"scale must be finite, not {format.scale}."
    for name in ("mean", "std"):
        values: tuple[float, ...] = getattr(format, name)
        if len(values) not in (1, channels):
            allowed = "1 value" if channels == 1 else f"1 or {channels} values"
            return f"{name} has {len(values)} values; {format.color} needs {allowed}."
        if not all(math.isfinite(value) for value in values):
            return f"{name} must be finite, not {list(values)}."
    if not all(format.std):
        return "std must not be 0."
    return None


def describe(error: Exception) -> str:
    """The message of a decoding error with its JSON path, safe to print, without a full stop."""
    message, _, path = printable(str(error), 300).partition(" - at ")
    message = message.replace("`", "'").rstrip(".")
    return f"{message} at {path.strip('`')}" if path else message


def plain_number(value: object) -> object:
    """numpy scalars as Python numbers, for msgspec."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"Values of type {type(value).__name__} are not allowed")


def _layer_problems(layer: LayerPlan, grid_bits: int) -> Iterator[str]:
    deltas = layer.delta if isinstance(layer.delta, tuple) else (layer.delta,)
    for delta in deltas:
        if not MIN_DELTA <= delta <= MAX_DELTA:
            yield f"delta {delta:g} is outside {MIN_DELTA:g} to {MAX_DELTA:g}."
            break
    if not deltas:
        yield "delta is empty."
    bits = layer.bits if isinstance(layer.bits, tuple) else (layer.bits,)
    if not bits:
        yield "bits is empty."
    elif max(bits) > grid_bits:
        yield f"bits {max(bits)} is finer than the grid, which has {grid_bits} bits."


def _check_preparation(plan: Plan) -> None:
    """Prepared frames must be what an input that brings frames takes."""
    format = plan.preparation
    if format is None:
        return
    what, where = ("sound", "audio") if isinstance(format, AudioFormat) else ("pictures", "input")
    if format.name not in plan.input_shapes:
        raise PlanError(
            f"{what} would go to {printable(format.name)!r}, which is not an input of the model.",
            where=where,
        )
    if format.name in plan.feedback:
        raise PlanError(
            f"{what} would go to {printable(format.name)!r}, which is a state.", where=where
        )
    if format.shape != plan.input_shapes[format.name]:
        raise PlanError(
            f"prepared {what} would have shape {list(format.shape)}, but the model takes "
            f"{list(plan.input_shapes[format.name])}.",
            where=where,
        )


def listed(names: Iterable[str], limit: int = 5) -> str:
    """A few of the names, quoted and in order."""
    quoted = [repr(printable(name)) for name in sorted(names)]
    more = f" and {len(quoted) - limit} more" if len(quoted) > limit else ""
    return ", ".join(quoted[:limit]) + more if quoted else "none"
