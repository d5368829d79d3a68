"""Rules for operators that give values another shape or order: Reshape, Transpose, Expand, Tile."""

from __future__ import annotations

import math

import numpy as np
import onnx

from mquans.graph import Binary, Concat, Expand, Reshape, Transpose, Unary, broadcast
from mquans.onnx.call import Call, Refused, Rule, normalise

MOST_PIECES = 10_000
"""Copies that a repetition may be joined of."""


def identity(call: Call) -> None:
    call.copy(call.value())


def dropout(call: Call) -> None:
    if call.has(2) and bool(call.constant(2, "training_mode")):
        raise Refused("dropout in training mode")
    if call.is_read(1):
        raise Refused("the mask of a dropout is used")
    call.copy(call.value())


def cast(call: Call) -> None:
    _cast_to(call, str(onnx.helper.tensor_dtype_to_np_dtype(call.attribute("to"))))


def cast_like(call: Call) -> None:
    if call.is_constant(0):
        call.fold(0, call.constant(0).astype(call.dtype(1)))
        return
    _cast_to(call, call.dtype(1))


def _cast_to(call: Call, wanted: str) -> None:
    given = call.dtype()
    # All floats are computed in float32.
    if given == wanted or given == "bool" or wanted in ("float32", "float64"):
        call.copy(call.value())
    elif wanted == "bool":
        call.finish(Unary("abs"), call.emit("sign", Unary("sign"), call.value()))
    elif given in ("float32", "float64") and wanted in ("int32", "int64"):
        sign = call.emit("sign", Unary("sign"), call.value())
        size = call.emit("floor", Unary("floor"), call.emit("size", Unary("abs"), call.value()))
        call.finish(Binary("mul"), sign, size)
    elif given not in ("float32", "float64") and np.can_cast(given, wanted):
        call.copy(call.value())
    else:
        raise Refused(f"it turns {given} into {wanted}, which may not hold it")


def reshape(call: Call) -> None:
    wanted = [int(size) for size in call.constant(1, "the shape").reshape(-1)]
    source = call.shape()
    if not call.attribute("allowzero", 0):
        wanted = [source[i] if size == 0 else size for i, size in enumerate(wanted)]
    if -1 in wanted:
        known = math.prod(size for size in wanted if size != -1)
        wanted[wanted.index(-1)] = math.prod(source) // known if known else 0
    call.finish(Reshape(tuple(wanted)), call.value())


def flatten(call: Call) -> None:
    shape = call.shape()
    axis = int(call.attribute("axis", 1))
    axis = axis if axis == len(shape) else normalise(axis, len(shape))
    call.finish(Reshape((math.prod(shape[:axis]), math.prod(shape[axis:]))), call.value())


def squeeze(call: Call) -> None:
    shape = call.shape()
    axes = call.integers("axes", 1)
    if axes is None:
        gone = {i for i, size in enumerate(shape) if size == 1}
    else:
        gone = {normalise(axis, len(shape)) for axis in axes}
    call.finish(Reshape(tuple(s for i, s in enumerate(shape) if i not in gone)), call.value())


def unsqueeze(call: Call) -> None:
    shape = list(call.shape())
    axes = call.integers("axes", 1) or ()
    rank = len(shape) + len(axes)
    for axis in sorted(normalise(axis, rank) for axis in axes):
        shape.insert(axis, 1)
    call.finish(Reshape(tuple(shape)), call.value())


def transpose(call: Call) -> None:
    rank = len(call.shape())
    perm = tuple(call.attribute("perm") or reversed(range(rank)))
    call.finish(Transpose(perm), call.value())


def expand(call: Call) -> None:
    wanted = tuple(int(size) for size in call.constant(1, "the shape").reshape(-1))
    _expand_to(call, broadcast(call.shape(), wanted))


def _expand_to(call: Call, shape: tuple[int, ...]) -> None:
    call.finish(Expand(shape), call.value())


def tile(call: Call) -> None:
    repeats = tuple(int(count) for count in call.constant(1, "repeats").reshape(-1))
    shape = call.shape()
    if all(size == 1 or count == 1 for size, count in zip(shape, repeats, strict=True)):
        _expand_to(call, tuple(s * r for s, r in zip(shape, repeats, strict=True)))
        return
    if sum(repeats) > MOST_PIECES:
        raise Refused(f"it repeats {sum(repeats)} times")
    value = call.value()
    for axis, count in enumerate(repeats):
        if count > 1:
            value = call.emit(f"axis{axis}", Concat(axis), *(value,) * count)
    call.copy(value)


def concat(call: Call) -> None:
    # Some exporters concatenate empty pieces; they add nothing.
    values = [value for value in call.inputs if math.prod(call.shape_of(value)) > 0]
    if not values:
        raise Refused("all pieces are empty")
    axis = normalise(int(call.attribute("axis")), len(call.shape_of(values[0])))
    call.finish(Concat(axis), *values)


def depth_to_space(call: Call) -> None:
    batch, channels, height, width = call.shape()
    block = int(call.attribute("blocksize"))
    rest = channels // (block * block)
    if call.attribute("mode", "DCR") == "DCR":
        split, order = (batch, block, block, rest, height, width), (0, 3, 4, 1, 5, 2)
    else:
        split, order = (batch, rest, block, block, height, width), (0, 1, 4, 2, 5, 3)
    moved = call.emit("moved", Transpose(order), call.emit("split", Reshape(split), call.value()))
    call.finish(Reshape((batch, rest, height * block, width * block)), moved)


def space_to_depth(call: Call) -> None:
    batch, channels, height, width = call.shape()
    block = int(call.attribute("blocksize"))
    split = (batch, channels, height // block, block, width // block, block)
    pieces = call.emit("split", Reshape(split), call.value())
    channels_first = call.attribute("mode", "DCR") == "CRD"
    order = (0, 1, 3, 5, 2, 4) if channels_first else (0, 3, 5, 1, 2, 4)
    moved = call.emit("moved", Transpose(order), pieces)
    shape = (batch, channels * block * block, height // block, width // block)
    call.finish(Reshape(shape), moved)


def optional(call: Call) -> None:
    """A tensor that might have been absent, but is there."""
    call.copy(call.value())


RULES: dict[str, Rule] = {
    "Identity": identity,
    "Optional": optional,
    "OptionalGetElement": optional,
    "Dropout": dropout,
    "Cast": cast,
    "CastLike": cast_like,
    "Reshape": reshape,
    "Flatten": flatten,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Transpose": transpose,
    "Expand": expand,
    "Tile": tile,
    "Concat": concat,
    "DepthToSpace": depth_to_space,
    "SpaceToDepth": space_to_depth,
}
