"""Rules for operators that pick and put values at many places at once: places that are known are an
order of rows."""

from __future__ import annotations

from math import prod

import numpy as np
import numpy.typing as npt

from mquans.graph import Concat, Gather, Reshape, Slice
from mquans.onnx.call import Call, Refused, Rule
from mquans.onnx.rules.selection import MOST_PICKED

Places = npt.NDArray[np.int64]


def gather_elements(call: Call) -> None:
    shape, axis = call.shape(), call.axis(0)
    places = _places(call, axis)
    _pick(call, _elements(places, shape, axis).reshape(-1), (prod(shape),), places.shape)


def gather_nd(call: Call) -> None:
    shape, batch = call.shape(), int(call.attribute("batch_dims", 0))
    known = call.constant(1, "the indices").astype(np.int64)
    depth = batch + known.shape[-1]
    places = _counted(call, known, shape[batch:depth])
    # What the outer axes of batches count comes first.
    outer = np.indices(known.shape[:-1])[:batch]
    rows = np.ravel_multi_index((*outer, *np.moveaxis(places, -1, 0)), shape[:depth])
    result = (*known.shape[:-1], *shape[depth:])
    _pick(call, rows.reshape(-1), (prod(shape[:depth]), prod(shape[depth:])), result)


def scatter_elements(call: Call) -> None:
    _check_reduction(call)
    shape, axis = call.shape(), call.axis(0)
    places = _places(call, axis)
    call.require(
        call.shape(2) == places.shape,
        f"it puts {list(call.shape(2))} values, but has {list(places.shape)} indices",
    )
    _put(call, _elements(places, shape, axis).reshape(-1), (prod(shape),))


def scatter_nd(call: Call) -> None:
    _check_reduction(call)
    shape = call.shape()
    known = call.constant(1, "the indices").astype(np.int64)
    depth = known.shape[-1]
    places = _counted(call, known, shape[:depth])
    if known.size and _put_block(call, places.reshape(-1, depth)):
        return
    rows = np.ravel_multi_index(tuple(np.moveaxis(places, -1, 0)), shape[:depth])
    _put(call, rows.reshape(-1), (prod(shape[:depth]), prod(shape[depth:])))


def reverse_sequence(call: Call) -> None:
    shape = call.shape()
    time, batch = int(call.attribute("time_axis", 0)), int(call.attribute("batch_axis", 1))
    lengths = call.constant(1, "the lengths").astype(np.int64).reshape(-1)
    call.require(
        {time, batch} == {0, 1} and len(lengths) == shape[batch],
        "its lengths are not those of its sequences",
    )
    if np.unique(lengths).size != 1:
        raise Refused("its sequences differ in length")
    length = int(lengths[0])
    call.require(0 <= length <= shape[time], "a sequence is longer than its values")
    _check_count(shape[time])
    order = (*range(length - 1, -1, -1), *range(length, shape[time]))
    call.finish(Gather(time, order), call.value())


def _check_reduction(call: Call) -> None:
    if call.attribute("reduction", "none") != "none":
        raise Refused("what is put is added to what is there")


def _places(call: Call, axis: int) -> Places:
    """Indices along an axis, one for every element."""
    known = call.constant(1, "the indices").astype(np.int64)
    call.require(known.ndim == len(call.shape()), "its indices have another rank than its values")
    return _counted(call, known[..., None], (call.shape()[axis],))[..., 0]


def _counted(call: Call, places: Places, sizes: tuple[int, ...]) -> Places:
    """Places counted from the front, [..., axes]."""
    counts = np.array(sizes, np.int64)
    call.require(
        places.shape[-1] == len(sizes) and bool(((places >= -counts) & (places < counts)).all()),
        f"an index lies outside {list(sizes)}",
    )
    return np.where(places < 0, places + counts, places)


def _elements(places: Places, shape: tuple[int, ...], axis: int) -> Places:
    """Flat places of elements that lie where an index is, but for one axis."""
    along = np.indices(places.shape)
    grid = [*along[:axis], places, *along[axis + 1 :]]
    if any(int(each.max(initial=0)) >= size for each, size in zip(grid, shape, strict=True)):
        raise Refused("indices of more places than there are")
    return np.asarray(np.ravel_multi_index(tuple(grid), shape))


def _check_count(count: int) -> None:
    if count > MOST_PICKED:
        raise Refused(f"it picks {count} entries")


def _pick(call: Call, rows: Places, flat: tuple[int, ...], result: tuple[int, ...]) -> None:
    _check_count(len(rows))
    values = call.emit("flat", Reshape(flat), call.value())
    picked = call.emit("picked", Gather(0, tuple(rows.tolist())), values)
    call.finish(Reshape(result), picked)


def _put(call: Call, rows: Places, flat: tuple[int, ...]) -> None:
    """Rows of what is put where there are any, else of what is there; the last one wins."""
    _check_count(flat[0] + len(rows))
    source = np.arange(flat[0])
    source[rows] = flat[0] + np.arange(len(rows))
    there = call.emit("there", Reshape(flat), call.value(0))
    put = call.emit("put", Reshape((len(rows), *flat[1:])), call.value(2))
    both = call.emit("both", Concat(0), there, put)
    picked = call.emit("picked", Gather(0, tuple(source.tolist())), both)
    call.finish(Reshape(call.shape()), picked)


def _put_block(call: Call, places: Places) -> bool:
    """A block that is whole but for one axis, as an assignment to a slice makes it: a concatenation
    of what is before it, the block, and what is behind; False for other places."""
    shape, depth = call.shape(), places.shape[1]
    begins, ends = places[0], places[-1] + 1
    sizes = ends - begins
    if (sizes < 1).any() or prod(sizes.tolist()) != len(places):
        return False
    block = np.indices(sizes).reshape(depth, -1).T + begins
    if not np.array_equal(block, places):
        return False
    cut = [axis for axis in range(depth) if sizes[axis] != shape[axis]]
    if len(cut) > 1:
        return False
    whole = (*sizes.tolist(), *shape[depth:])
    put = call.emit("put", Reshape(whole), call.value(2))
    if not cut:
        call.copy(put)
        return True
    axis = cut[0]
    parts = []
    for label, begin, end in (("before", 0, begins[axis]), ("behind", ends[axis], shape[axis])):
        if begin < end:
            starts, stops = [0] * len(shape), list(shape)
            starts[axis], stops[axis] = int(begin), int(end)
            slice_ = Slice(tuple(starts), tuple(stops), (1,) * len(shape))
            parts.append((int(begin), call.emit(label, slice_, call.value(0))))
    ordered = sorted([*parts, (int(begins[axis]), put)])
    call.finish(Concat(axis), *(value for _, value in ordered))
    return True


RULES: dict[str, Rule] = {
    "GatherElements": gather_elements,
    "GatherND": gather_nd,
    "ScatterElements": scatter_elements,
    "Scatter": scatter_elements,
    "ScatterND": scatter_nd,
    "ReverseSequence": reverse_sequence,
}
