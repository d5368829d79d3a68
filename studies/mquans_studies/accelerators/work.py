"""Cycles and multiplications of a layer on an array."""

from __future__ import annotations

from math import ceil

import numpy as np
import numpy.typing as npt

from mquans_studies.accelerators.accelerator import Lanes, RowStationary, Unit
from mquans_studies.traces.layer_shape import LayerShape
from mquans_studies.traces.trace import Activity

Sums = npt.NDArray[np.float64]
"""[frames]"""


def share(shape: LayerShape, activity: Activity, unit: Unit) -> Sums:
    """Part of a layer's work that is left when unchanged units are left out: 1 when everything
    changed, 0 when nothing did."""
    reach = np.asarray(shape.reach, np.float64)
    match unit:
        case "value":
            left, whole = activity.changed.sum(axis=1) @ reach, np.dot(shape.reached, reach)
        case "block":
            left, whole = activity.blocks @ reach, np.dot(shape.blocks, reach)
        case "row":
            left, whole = activity.row_passes, shape.row_passes
        case "channel":
            left, whole = activity.channels, shape.channels
        case "none":
            return np.ones(len(activity.channels))
    return np.asarray(left / max(float(whole), 1.0), np.float64)


def site_share(shape: LayerShape, activity: Activity, unit: Unit) -> Sums:
    """The same when output positions are left out that read nothing new."""
    match unit:
        case "value" | "block":
            left, whole = activity.touched, shape.outputs
        case "row":
            left, whole = activity.touched_rows, shape.output_rows
        case "channel":
            left, whole = (activity.touched > 0).astype(np.int64), 1
        case "none":
            return np.ones(len(activity.channels))
    return np.asarray(left / max(whole, 1), np.float64)


def dense_macs(shape: LayerShape, *, padding: bool) -> int:
    """Multiplications of a dense frame, with taps on padding where the array computes them."""
    return shape.padded_macs if padding else shape.macs


def dense_cycles(shape: LayerShape, array: Lanes | RowStationary, *, padding: bool) -> float:
    """Cycles of a dense frame, memories aside."""
    steps = dense_macs(shape, padding=padding) / max(shape.macs, 1)
    if isinstance(array, Lanes):
        return _lane_cycles(shape, array) * (steps if array.taps.value == 1 else 1.0)
    busy = array.rows.value * array.columns.value * utilization(shape, array)
    return shape.macs * steps / busy


def leaves_out_positions(array: Lanes | RowStationary, unit: Unit) -> bool:
    """True for arrays that can leave out single output positions: those that go from one to the
    next, and tell values or blocks apart."""
    return isinstance(array, Lanes) and unit in ("value", "block")


def passes(shape: LayerShape, array: Lanes) -> float:
    """Steps of one tile in a dense frame, taps on padding left out: input channels side by side
    meet the output channels side by side in one output position."""
    if array.taps.value > 1:
        per_position = shape.channels * ceil(shape.taps / array.taps.value)
        return shape.positions * per_position * ceil(shape.row / array.outputs.value)
    reached = np.dot(shape.reached, shape.reach)
    per_group = shape.channels // shape.groups
    together = per_group / ceil(per_group / array.inputs.value)
    return float(reached / together) * ceil(shape.row / array.outputs.value)


def _lane_cycles(shape: LayerShape, array: Lanes) -> float:
    """Tiles share positions, groups and blocks of output channels; steps in time are in turn."""
    items = shape.positions / shape.steps * shape.groups * ceil(shape.row / array.outputs.value)
    tiles = array.tiles.value
    busy = items / ceil(items / tiles)
    return passes(shape, array) / busy


def utilization(shape: LayerShape, array: RowStationary) -> float:
    """Elements of a row-stationary array that a layer keeps busy: kernel rows run down it, output
    rows across, and sets of both are put beside each other while they fit."""
    rows, columns = array.rows.value, array.columns.value
    output_rows = max(shape.positions // (shape.output_width * shape.steps), 1)
    return _filled(shape.kernel_rows, rows) * _filled(output_rows, columns)


def _filled(size: int, capacity: float) -> float:
    if size <= capacity:
        return size * (capacity // size) / capacity
    return size / (capacity * ceil(size / capacity))
