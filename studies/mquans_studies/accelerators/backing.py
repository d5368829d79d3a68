"""Bytes that a layer moves to and from the backing memory: what does not stay on the chip."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

from mquans_studies.accelerators.accelerator import Lanes, Role
from mquans_studies.accelerators.load import Load, Traffic
from mquans_studies.accelerators.places import places_of, spare_bytes
from mquans_studies.traces.trace import Activity

TAG_BYTES = 8
"""Of an entry in a memory of windows: a 64-bit hash."""


def backing_traffic(load: Load, traffic: Traffic) -> None:
    """Adds it. Outside a layer, weights are fetched once if they or the inputs fit, else whichever
    way moves less."""
    shape, design, word = load.shape, load.design, load.word
    weights = shape.weights * load.weight_bytes
    inputs, outputs = shape.inputs * word, shape.outputs * word
    of_weights, of_outputs = design.memory("weights"), design.memory("outputs")
    backing = design.memory("backing").name
    if of_weights.keeps:
        total = load.network.weights * load.weight_bytes
        missing = 1 - min(of_weights.capacity / total, 1.0) if total else 0.0
        traffic.add(backing, read=weights * missing * load.rows)
        fetched = 1.0
    else:
        times, fetched = _orders(load)
        brought = weights * times * load.rows
        traffic.add(backing, read=brought)
        traffic.add(of_weights.name, written=brought)
    if not load.scheme.compares or shape.steps > 1:
        # Sequences pass through as in the dense design; their state is that of a single step.
        beyond = inputs + outputs - (of_outputs.capacity if of_outputs.keeps else 0.0)
        if 0 < beyond <= spare_bytes(load):
            traffic.add(of_weights.name, read=inputs, written=outputs + load.handed * word)
        elif beyond > 0:
            traffic.add(backing, read=inputs * fetched, written=outputs + load.handed * word)
        if not of_outputs.keeps:
            traffic.add(design.memory("inputs").name, written=inputs * fetched)
    if load.scheme.compares:
        _state(load, traffic, fetched)


def _state(load: Load, traffic: Traffic, fetched: float) -> None:
    """Held values and sums that do not stay on the chip from frame to frame, and what the array
    reads: the list of what changed, which goes the same way to its readers, or by sites the
    windows of what is computed."""
    shape, design, word = load.shape, load.design, load.word
    of_outputs, backing = design.memory("outputs"), design.memory("backing").name
    sums = load.touched * design.sum_bytes.value
    away = places_of(load).away
    if shape.steps > 1:
        of_frame = shape.inputs * load.index + shape.outputs * design.sum_bytes.value
        held = of_frame / shape.steps
        traffic.add(backing, read=away * held, written=away * held)
        return
    looked_at = load.compared * load.index + load.given * word
    by_sites = load.scheme.sites
    kept = 0 * sums if by_sites else sums
    read = load.needed * word if by_sites else load.changed * load.entry
    passed = fetched * read
    stored = load.listed * (load.index if by_sites else load.index + load.entry) + kept
    traffic.add(backing, read=away * (looked_at + passed + kept), written=away * stored)
    if not of_outputs.keeps:
        traffic.add(design.memory("inputs").name, written=looked_at + passed)


def _orders(load: Load) -> tuple[float, float]:
    """How often weights and inputs are fetched: a part of the weights, of the inputs or of the sums
    stays while the others pass, whichever moves least; group by group, since groups share
    neither."""
    shape, design = load.shape, load.design
    weights = shape.weights * load.weight_bytes
    inputs, sums = shape.inputs * load.word, shape.outputs * load.word
    sizes: tuple[tuple[Role, float], ...] = (
        ("weights", weights), ("inputs", inputs), ("outputs", sums),
    )  # fmt: skip
    parts = {role: ceil(size / shape.groups / design.memory(role).capacity) for role, size in sizes}
    if parts["inputs"] <= 1:
        return 1.0, 1.0
    again = _rows_again(load)
    if parts["weights"] <= 1:
        return 1.0, again
    # A part of the sums is some filters by some positions.
    most = min(parts["outputs"], shape.row)
    filters = range(1, most + 1)
    orders = [
        (float(parts["inputs"]), 1.0),
        (1.0, parts["weights"] * again),
        *((float(ceil(parts["outputs"] / count)), count * again) for count in filters),
        *_orders_by_lines(load),
    ]
    return min(orders, key=lambda order: weights * order[0] + inputs * order[1])


def _orders_by_lines(load: Load) -> Iterator[tuple[float, float]]:
    """The same where sums of whole rows stay and channels pass, as many at a time as there are
    lanes: of these the rows that a kernel meets lie side by side, so that only rows which two parts
    share are fetched again."""
    array, shape, design = load.design.array, load.shape, load.design
    if shape.operator != "conv" or not isinstance(array, Lanes):
        return
    channels = min(array.inputs.value, shape.channels / shape.groups)
    if shape.kernel_rows * shape.width * channels * load.word > design.memory("inputs").capacity:
        return
    lanes = int(array.outputs.value)
    shared = max(shape.kernel_rows - shape.rows / shape.output_rows, 0.0)
    for filters in range(min(lanes, shape.row), shape.row + lanes, lanes):
        sums = design.memory("outputs").capacity / load.word
        rows = int(sums / min(filters, shape.row) / shape.output_width)
        if not rows:
            return
        times = ceil(shape.output_rows / rows)
        yield float(times), ceil(shape.row / filters) * (1 + shared * (times - 1) / shape.rows)


def _rows_again(load: Load) -> float:
    """How often inputs that pass are fetched: lanes without lines of memory fetch a row again for
    every row of the kernel that meets it."""
    array, shape = load.design.array, load.shape
    if not isinstance(array, Lanes) or array.taps.value > 1:
        return 1.0
    return max(shape.row_passes / (shape.channels * shape.rows), 1.0)


def window_memory(load: Load, activity: Activity, traffic: Traffic) -> None:
    """A tag is looked up for every position; a hit brings the outputs, a miss stores them. Whole
    inputs are not compared, in favour of the scheme."""
    shape = load.shape
    outputs = shape.outputs / shape.positions * load.word
    hits = activity.repeated.astype(float)
    traffic.add(
        load.design.memory("backing").name,
        read=shape.positions * TAG_BYTES + hits * outputs,
        written=(shape.positions - hits) * (TAG_BYTES + outputs),
    )
