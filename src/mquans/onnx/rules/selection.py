"""Rules for operators that pick or surround values: Slice, Split, Gather, Pad."""

from __future__ import annotations

import numpy as np

from mquans.graph import Gather, Pad, Reshape, Slice
from mquans.onnx.call import Call, Refused, Rule, normalise

MOST_PICKED = 1 << 20
"""Entries that a constant index may have; more are no list of places but data."""


def slice_(call: Call) -> None:
    shape = call.shape()
    if call.attribute("starts") is not None:
        begins, ends = call.attribute("starts"), call.attribute("ends")
        axes, strides = call.attribute("axes"), None
    else:
        begins = call.integers("starts", 1)
        ends = call.integers("ends", 2)
        axes, strides = call.integers("axes", 3), call.integers("steps", 4)
    axes = axes if axes is not None else range(len(begins))
    strides = strides if strides is not None else (1,) * len(begins)
    starts, stops, steps = [0] * len(shape), list(shape), [1] * len(shape)
    for begin, end, axis, step in zip(begins, ends, axes, strides, strict=True):
        axis = normalise(axis, len(shape))
        starts[axis], stops[axis], steps[axis] = slice(begin, end, step).indices(shape[axis])
    call.finish(Slice(tuple(starts), tuple(stops), tuple(steps)), call.value())


def split(call: Call) -> None:
    shape = call.shape()
    axis = call.axis(0)
    sizes = call.integers("split", 1, "the sizes")
    if sizes is None:
        count = int(call.attribute("num_outputs", len(call.outputs)))
        piece = -(-shape[axis] // count)
        sizes = (*(piece,) * (count - 1), shape[axis] - piece * (count - 1))
    begin = 0
    for index, size in enumerate(sizes):
        starts, stops = [0] * len(shape), list(shape)
        starts[axis], stops[axis] = begin, begin + size
        begin += size
        if call.is_read(index):
            op = Slice(tuple(starts), tuple(stops), (1,) * len(shape))
            call.finish(op, call.value(), output=index)


def gather(call: Call) -> None:
    shape = call.shape()
    axis = call.axis(0)
    indices = call.constant(1, "the index")
    if indices.size > MOST_PICKED:
        raise Refused(f"it picks {indices.size} entries")
    flat = tuple(i + shape[axis] if i < 0 else i for i in map(int, indices.reshape(-1)))
    op = Gather(axis, flat)
    if indices.ndim == 1:
        call.finish(op, call.value())
    else:
        picked = call.emit("picked", op, call.value())
        call.finish(Reshape((*shape[:axis], *indices.shape, *shape[axis + 1 :])), picked)


def pad(call: Call) -> None:
    shape = call.shape()
    rank = len(shape)
    amounts = call.integers("pads", 1) or (0,) * (2 * rank)
    axes = call.integers("axes", 3) if call.has(3) else tuple(range(rank))
    begins, ends = [0] * rank, [0] * rank
    for i, axis in enumerate(axes or ()):
        begins[normalise(axis, rank)] = amounts[i]
        ends[normalise(axis, rank)] = amounts[len(amounts) // 2 + i]
    mode = call.attribute("mode", "constant")
    if mode not in ("constant", "reflect", "edge"):
        raise Refused(f"padding mode {mode!r}")
    if call.has(2):
        value = float(np.asarray(call.constant(2, "the fill value")).reshape(-1)[0])
    else:
        value = float(call.attribute("value", 0.0))
    crop = [(max(0, -begin), max(0, -end)) for begin, end in zip(begins, ends, strict=True)]
    source = call.value()
    if any(begin or end for begin, end in crop):
        if mode != "constant":
            raise Refused("negative padding that is not constant")
        starts = tuple(begin for begin, _ in crop)
        stops = tuple(size - end for size, (_, end) in zip(shape, crop, strict=True))
        source = call.emit("cropped", Slice(starts, stops, (1,) * rank), source)
    pads = tuple(max(0, amount) for amount in begins + ends)
    call.require(
        mode != "reflect"
        or all(amount < size for amount, size in zip(pads, 2 * shape, strict=True)),
        f"it reflects {list(pads)} values of shape {list(shape)}",
    )
    grid = call.grid_of(call.value())
    coded = grid is not None and not call.dtype().startswith("float")
    if grid is not None and coded:
        value = (value - grid.zero) * grid.scale
    call.finish(Pad(pads, mode, value if mode == "constant" else 0.0), source)
    if coded or (mode == "constant" and value == 0):
        call.declare(call.dtype(), grid)


RULES: dict[str, Rule] = {"Slice": slice_, "Split": split, "Gather": gather, "Pad": pad}
