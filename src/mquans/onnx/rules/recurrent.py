"""Rules for LSTM, GRU and RNN: an input product per direction, and the recurrence behind it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mquans.graph import (
    GATES,
    Concat,
    Linear,
    Recurrence,
    RecurrenceKind,
    Reshape,
    Slice,
    Transpose,
    Unary,
    UnaryKind,
)
from mquans.onnx.call import Call, Refused, Rule

Array = npt.NDArray[np.generic]

KINDS: dict[str, RecurrenceKind] = {"LSTM": "lstm", "GRU": "gru", "RNN": "rnn"}

DEFAULTS: dict[RecurrenceKind, tuple[str, ...]] = {
    "lstm": ("Sigmoid", "Tanh", "Tanh"),
    "gru": ("Sigmoid", "Tanh"),
    "rnn": ("Tanh",),
}
"""Activations of one direction that ONNX takes when none are named."""

ACTIVATIONS: dict[str, tuple[UnaryKind, tuple[float, ...]]] = {
    "relu": ("relu", ()), "tanh": ("tanh", ()), "sigmoid": ("sigmoid", ()),
    "softsign": ("softsign", ()), "softplus": ("softplus", ()), "elu": ("elu", (1.0,)),
    "leakyrelu": ("leaky_relu", (0.01,)), "hardsigmoid": ("hard_sigmoid", (0.2, 0.5)),
}  # fmt: skip
"""By ONNX's names in lower case, with default alpha and beta."""


@dataclass(frozen=True, slots=True)
class Direction:
    """One direction of a layer.

    Attributes:
        index: among the layer's directions.
        prefix: of the labels of its nodes and constants.
        reverse: time runs backwards.
        activations: f, g, h of ONNX, as many as the kind has.
    """

    index: int
    prefix: str
    reverse: bool
    activations: tuple[Unary, ...]


def recurrent(call: Call) -> None:
    kind = KINDS[call.op_type]
    names = ("the input weight", "the recurrent weight")
    weights, recurrent_weights = (call.constant(1 + i, what) for i, what in enumerate(names))
    biases = call.constant(3, "the bias") if call.has(3) else None
    if call.attribute("input_forget", 0):
        raise Refused("its input and forget gates are coupled (input_forget)")
    batch_first = bool(call.attribute("layout", 0))
    x = call.value()
    if batch_first:
        x = call.emit("time_first", Transpose((1, 0, 2)), x)
    steps, batch, _ = call.shape_of(x)
    lengths = _lengths(call, steps, batch)
    clip = float(call.attribute("clip", 0.0)) or None
    reset_after = kind == "gru" and bool(call.attribute("linear_before_reset", 0))
    found: list[tuple[str, ...]] = []
    directions = list(_directions(call, kind))
    hidden = int(call.attribute("hidden_size", recurrent_weights.shape[-1]))
    rows = len(directions), GATES[kind] * hidden
    call.require(
        weights.shape[:2] == rows and recurrent_weights.shape == (*rows, hidden),
        f"weights {list(weights.shape)} and {list(recurrent_weights.shape)} are not those of "
        f"{rows[0]} directions of {hidden} hidden units",
    )
    for one in directions:
        weight, recurrent_weight = weights[one.index], recurrent_weights[one.index]
        merged, separate = _biases(
            kind, reset_after, None if biases is None else biases[one.index], len(weight)
        )
        inputs = [x, call.add_constant(f"{one.prefix}W", weight.T)]
        if merged is not None:
            inputs.append(call.add_constant(f"{one.prefix}b", merged))
        in_time = batch if steps > 1 else 0
        p = call.emit(f"{one.prefix}input", Linear(batch=in_time), *inputs)
        states = [_initial(call, 5, one, len(directions), batch_first)]
        if kind == "lstm":
            states.append(_initial(call, 6, one, len(directions), batch_first))
            states.append(_peepholes(call, one))
        op = Recurrence(
            kind=kind,
            activations=one.activations,
            reverse=one.reverse,
            clip=clip,
            reset_after=reset_after,
            lengths=lengths,
        )
        bias = "" if separate is None else call.add_constant(f"{one.prefix}r", separate)
        weight_name = call.add_constant(f"{one.prefix}R", recurrent_weight.T)
        operands = [p, weight_name, bias, *states]
        while operands[-1] == "":
            operands.pop()
        outputs = 3 if kind == "lstm" else 2
        found.append(call.emit_all(one.prefix, op, *operands, outputs=outputs))
    _finish(call, found, batch_first)


def _directions(call: Call, kind: RecurrenceKind) -> Iterator[Direction]:
    direction = call.attribute("direction", "forward")
    count = 2 if direction == "bidirectional" else 1
    default = DEFAULTS[kind]
    activations = _activations(call, default * count)
    for index in range(count):
        yield Direction(
            index=index,
            prefix="reverse/" if index else "",
            reverse=direction == "reverse" or index == 1,
            activations=activations[index * len(default) : (index + 1) * len(default)],
        )


def _activations(call: Call, default: tuple[str, ...]) -> tuple[Unary, ...]:
    """Of all directions. alpha and beta are dealt, as onnxruntime does, to those that have them."""
    names = [_text(name) for name in call.attribute("activations") or default]
    if len(names) != len(default):
        raise Refused(f"it names {len(names)} activations instead of {len(default)}")
    given = [list(call.attribute(f"activation_{name}") or ()) for name in ("alpha", "beta")]
    result = []
    for name in names:
        if name.lower() not in ACTIVATIONS:
            raise Refused(f"its activation {name} has no native form")
        kind, defaults = ACTIVATIONS[name.lower()]
        params = [
            float(values.pop(0)) if values else default
            for values, default in zip(given, defaults, strict=False)
        ]
        result.append(Unary(kind, tuple(params)))
    return tuple(result)


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name


def _lengths(call: Call, steps: int, batch: int) -> tuple[int, ...]:
    """Valid steps per sequence; () when all are."""
    if not call.has(4):
        return ()
    array = call.constant(4, "the lengths of its sequences")
    lengths = tuple(int(length) for length in array.reshape(-1))
    if len(lengths) != batch or not all(0 < length <= steps for length in lengths):
        raise Refused(f"sequences of lengths {list(lengths)} in {steps} steps")
    return () if set(lengths) == {steps} else lengths


def _biases(
    kind: RecurrenceKind, reset_after: bool, bias: Array | None, size: int
) -> tuple[Array | None, Array | None]:
    """Biases of the input product and of the recurrent one, [G*H] each.

    All that is merely added goes to the input product. With `reset_after` the reset gate scales the
    last one, which so stays with the recurrent product.
    """
    if bias is None:
        return None, None
    own, other = bias[:size].astype(np.float64), bias[size:].astype(np.float64)
    if not reset_after:
        return own + other, None
    scaled = np.arange(size) >= size * (GATES[kind] - 1) // GATES[kind]
    separate = np.where(scaled, other, 0.0)
    return own + other - separate, separate if separate.any() else None


def _initial(call: Call, index: int, one: Direction, directions: int, batch_first: bool) -> str:
    """The initial state of a direction, [B, H]; "" when it is zero."""
    if not call.has(index):
        return ""
    label = f"{one.prefix}{'h' if index == 5 else 'c'}0"
    axis = 1 if batch_first else 0
    if call.is_constant(index):
        array = np.take(call.constant(index), one.index, axis=axis)
        return call.add_constant(label, array) if array.any() else ""
    value, shape = call.value(index), call.shape(index)
    if directions > 1:
        starts, stops = [0, 0, 0], list(shape)
        starts[axis], stops[axis] = one.index, one.index + 1
        value = call.emit(f"{label}/slice", Slice(tuple(starts), tuple(stops), (1, 1, 1)), value)
    return call.emit(label, Reshape((shape[1 - axis], shape[2])), value)


def _peepholes(call: Call, one: Direction) -> str:
    if not call.has(7):
        return ""
    array = call.constant(7, "the peephole weight")[one.index]
    return call.add_constant(f"{one.prefix}P", array) if array.any() else ""


def _finish(call: Call, found: list[tuple[str, ...]], batch_first: bool) -> None:
    """Stack the directions as ONNX does: Y [T, D, B, H], Y_h and Y_c [D, B, H]; batch first:
    Y [B, T, D, H], Y_h and Y_c [B, D, H]."""
    for output, values in enumerate(zip(*found, strict=True)):
        if not call.is_read(output):
            continue
        *time, batch, hidden = call.shape_of(values[0])
        axis = len(time)
        label = ("Y", "Y_h", "Y_c")[output]
        stacked = [
            call.emit(f"{label}{i or ''}", Reshape((*time, 1, batch, hidden)), value)
            for i, value in enumerate(values)
        ]
        if len(stacked) == 1 and not batch_first:
            call.copy(stacked[0], output)
        elif not batch_first:
            call.finish(Concat(axis), *stacked, output=output)
        else:
            joined = call.emit(f"{label}/joined", Concat(axis), *stacked)
            call.finish(Transpose((2, 0, 1, 3) if time else (1, 0, 2)), joined, output=output)


RULES: dict[str, Rule] = dict.fromkeys(KINDS, recurrent)
