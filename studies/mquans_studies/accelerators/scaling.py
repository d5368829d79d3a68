"""Activity of a narrow network put on a wider one of the same layers.

A network that is too large to be trained here is trained with fewer channels; its cycles and energy
are those of its true dimensions, under the share of changes that the narrow one sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mquans.errors import MquansError
from mquans_studies.traces.layer_shape import Counts, LayerShape
from mquans_studies.traces.trace import Activity, LayerTrace, Trace


def widened(trace: Trace, shapes: Sequence[LayerShape]) -> Trace:
    """The trace with every layer at another number of channels.

    Shares of changed inputs, blocks, row passes, channels and outputs are kept, which flatters
    designs that skip blocks: of a wider layer more of them change. Shares of distinct weights are
    kept up to the number of values that integers have.

    Args:
        shapes: layer by layer, of the same kernels, strides and sizes of pictures.

    Raises:
        MquansError: a layer differs in more than channels.
    """
    if len(shapes) != len(trace.layers):
        raise MquansError(
            f"the networks have {len(trace.layers)} and {len(shapes)} layers to widen."
        )
    layers = [_widened(layer, shape) for layer, shape in zip(trace.layers, shapes, strict=True)]
    return replace(trace, layers=tuple(layers))


def _widened(layer: LayerTrace, shape: LayerShape) -> LayerTrace:
    mine = layer.shape
    if (mine.operator, mine.reach, mine.taps, mine.positions, mine.rows) != (
        shape.operator, shape.reach, shape.taps, shape.positions, shape.rows,
    ):  # fmt: skip
        raise MquansError(
            "the two networks differ in more than channels.", where=f"layer {mine.name!r}"
        )
    activity = layer.activity
    inputs = np.array(shape.reached) / np.array(mine.reached)
    per_width = np.array(layer.neurons) / mine.channels
    neurons = np.floor(per_width * shape.channels).astype(int)
    neurons[-1] += shape.channels - neurons.sum()
    wide = Activity(
        changed=_rounded(activity.changed * inputs),
        blocks=_rounded(activity.blocks * (np.array(shape.blocks) / np.array(mine.blocks))),
        row_passes=_rounded(activity.row_passes * (shape.row_passes / mine.row_passes)),
        channels=_rounded(activity.channels * (shape.channels / mine.channels)),
        touched=_rounded(activity.touched * (shape.outputs / mine.outputs)),
        touched_rows=activity.touched_rows,
        needed=_rounded(activity.needed * (shape.inputs / mine.inputs)),
        computed=_rounded(activity.computed * (shape.inputs / mine.inputs)),
        repeated=activity.repeated,
    )
    share, counts = shape.weights / mine.weights, layer.repetition
    levels = 2**counts.bits - 2  # values other than 0, both signs
    repetition = replace(
        counts,
        nonzero=round(counts.nonzero * share),
        per_output=min(round(counts.per_output * share), shape.row * shape.groups * levels),
        per_input=min(round(counts.per_input * share), shape.channels * levels // 2),
    )
    return replace(
        layer,
        shape=shape,
        given=round(layer.given * shape.inputs / mine.inputs),
        neurons=tuple(neurons.tolist()),
        activity=wide,
        repetition=repetition,
    )


def _rounded(values: npt.NDArray[np.floating]) -> Counts:
    return np.asarray(np.rint(values), np.int64)
