"""Bytes that a layer moves at every memory of an accelerator."""

from __future__ import annotations

from math import ceil

import numpy as np

from mquans_studies.accelerators.accelerator import Lanes, Role, RowStationary
from mquans_studies.accelerators.backing import backing_traffic, window_memory
from mquans_studies.accelerators.load import Load, Traffic
from mquans_studies.accelerators.places import places_of
from mquans_studies.accelerators.work import Sums, passes
from mquans_studies.traces.layer_shape import LayerShape
from mquans_studies.traces.trace import Activity

HOLDING: tuple[Role, ...] = ("weights", "inputs", "outputs")


def layer_traffic(load: Load, activity: Activity) -> Traffic:
    """Bytes at every memory."""
    traffic = Traffic()
    for memory in load.design.memories:
        traffic.add(memory.name, read=0 * load.left, written=0 * load.left)
    _on_chip(load, traffic)
    backing_traffic(load, traffic)
    if load.scheme.memory:
        window_memory(load, activity, traffic)
    return traffic


def _on_chip(load: Load, traffic: Traffic) -> None:
    design, word = load.design, load.word
    weights, inputs, sums = _words(load.shape, design.array, load)
    of_weights, of_inputs, of_outputs = (design.memory(role).name for role in HOLDING)
    traffic.add(of_weights, read=weights * load.weight_bytes)
    traffic.add(of_inputs, read=inputs * load.entry)
    if any("operands" in memory.serves for memory in design.memories):
        moved = design.array.operand_words.value * load.issued * word
        traffic.add(design.memory("operands").name, read=moved)
    passed = load.touched * (sums - 1) * word
    if not load.scheme.compares:
        written = passed + load.touched * word
        traffic.add(of_outputs, read=passed, written=written)
        return
    # By sites no sums are kept, and a result is written where its gate opened.
    kept = passed + (0 if load.scheme.sites else load.touched * design.sum_bytes.value)
    spare = places_of(load).spare
    for share, sums_in, held_in in (
        (1 - spare, of_outputs, of_inputs),
        (spare, of_weights, of_weights),
    ):
        traffic.add(sums_in, read=share * kept, written=share * kept)
        held = load.index * load.listed
        traffic.add(held_in, read=share * load.index * load.compared, written=share * held)
    listed = 0 if load.scheme.sites else load.listed * load.entry
    traffic.add(of_inputs, read=load.given * word, written=listed)


def _words(shape: LayerShape, array: Lanes | RowStationary, load: Load) -> tuple[Sums, Sums, float]:
    """(weights, inputs) that the array reads, and how often each sum is written."""
    per_group = shape.channels / shape.groups
    if isinstance(array, Lanes):
        # A weight is read once at least, in recurrent layers once per time step: later steps need
        # the results of earlier ones.
        least = shape.weights * (shape.steps if shape.operator == "recurrence" else 1)
        most = max(shape.macs / array.weight_reuse.value, least)
        weights = np.minimum(most, load.issued)
        if load.scheme.sites:  # whole positions share weights as dense ones do
            weights = np.maximum(load.issued / array.weight_reuse.value, least * load.rows)
            weights = np.minimum(weights, load.issued)
        if array.taps.value > 1:
            words = float(shape.inputs * ceil(shape.row / array.outputs.value))
        else:
            words = passes(shape, array) * min(array.inputs.value, per_group)
        summed = array.psum_channels.value
        return weights, words * load.left, ceil(per_group / summed) if summed else 1.0
    output_rows = shape.positions / shape.output_width
    sets = max(array.rows.value // shape.kernel_rows, 1)
    weights = shape.weights * ceil(output_rows / array.columns.value) * load.left
    inputs = shape.inputs * ceil(shape.row / (array.filters.value * sets)) * load.left
    summed = max(array.window.value // (shape.taps // shape.kernel_rows), 1)
    return weights, inputs, ceil(per_group / summed)
