"""Rules for reductions and softmax."""

from __future__ import annotations

import math

import numpy as np

from mquans.graph import Binary, Reduce, ReduceKind, Reshape, Softmax, Unary
from mquans.onnx.call import Call, Rule, normalise_all

KINDS: dict[str, ReduceKind] = {
    "ReduceMean": "mean", "ReduceSum": "sum", "ReduceMax": "max", "ReduceMin": "min",
    "ReduceProd": "prod", "ReduceL1": "l1", "ReduceL2": "l2", "ReduceSumSquare": "sum_square",
}  # fmt: skip

LARGEST = float(np.finfo(np.float32).max)


def reduce(call: Call) -> None:
    wanted = _axes(call)
    if wanted is None:
        _reduce_nothing(call)
        return
    keep = bool(call.attribute("keepdims", 1))
    call.finish(Reduce(KINDS[call.op_type], wanted, keep), call.value())


def _axes(call: Call) -> tuple[int, ...] | None:
    """Those that are reduced; None where a node says that none are."""
    rank = len(call.shape())
    axes = call.integers("axes", 1)
    if not axes and call.attribute("noop_with_empty_axes", 0):
        return None
    return normalise_all(axes, rank) if axes else tuple(range(rank))


def _reduce_nothing(call: Call) -> None:
    """Over no axes only the function of the single value is left."""
    kind = KINDS[call.op_type]
    if kind in ("l1", "l2"):
        call.finish(Unary("abs"), call.value())
    elif kind == "sum_square":
        call.finish(Reduce(kind, (), True), call.value())
    else:
        call.copy(call.value())


def log_sum_exp(call: Call) -> None:
    """Around the largest value, lest large ones overflow, as the definition by its parts does."""
    wanted = _axes(call)
    if wanted is None:
        call.copy(call.value())
        return
    largest = call.emit("largest", Reduce("max", wanted, True), call.value())
    largest = call.emit("finite", Unary("clip", (-LARGEST, LARGEST)), largest)
    below = call.emit("below", Binary("sub"), call.value(), largest)
    sums = call.emit("sum", Reduce("sum", wanted, True), call.emit("exp", Unary("exp"), below))
    logarithm = call.emit("log", Unary("log"), sums)
    if call.attribute("keepdims", 1):
        call.finish(Binary("add"), logarithm, largest)
        return
    kept = tuple(size for axis, size in enumerate(call.shape()) if axis not in wanted)
    call.finish(Reshape(kept), call.emit("whole", Binary("add"), logarithm, largest))


def softmax(call: Call) -> None:
    shape = call.shape()
    log = call.op_type == "LogSoftmax"
    if call.opset >= 13:
        call.finish(Softmax(call.axis(-1), log), call.value())
        return
    # Before opset 13 all axes from `axis` on were one.
    axis = call.axis(1)
    if math.prod(shape[axis + 1 :]) == 1:
        call.finish(Softmax(axis, log), call.value())
        return
    flat = (*shape[:axis], math.prod(shape[axis:]))
    rows = call.emit("rows", Reshape(flat), call.value())
    call.finish(Reshape(shape), call.emit("softmax", Softmax(axis, log), rows))


RULES: dict[str, Rule] = {
    **dict.fromkeys(KINDS, reduce),
    "ReduceLogSumExp": log_sum_exp,
    "Softmax": softmax,
    "LogSoftmax": softmax,
}
