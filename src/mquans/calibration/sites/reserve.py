"""Reserve for channels that were quiet: their codes reach as far as precision allows.

A calibration sees some scenes. A channel that hardly fired in them fires in others, and codes that
end just above what was seen cut it off. Where the layers behind make little of a channel's errors,
its codes may be coarser and reach further.
"""

from __future__ import annotations

from bisect import bisect_right

import numpy as np

from mquans.calibration.sites.code_format import Exponents
from mquans.calibration.sites.ranges import Reals
from mquans.calibration.sites.weight_sums import weight_of
from mquans.graph import Concat, Gather, Graph, Node, Slice, slices
from mquans.runtime.lowering.sites import Analysis, order_read

GROWTH = 1.25
"""Of a tensor's squared error of rounding, as the layers behind see it: little enough where a
calibration saw everything, and most of what there is to gain where it did not."""

LEAST = 2.0**-100
"""What layers make of an error, at least."""


def weights_of_errors(graph: Graph, analysis: Analysis) -> dict[str, Reals]:
    """What the layers behind a tensor of codes make of the squared error of each of its channels,
    [channels], 1 in the mean; layer by layer, through whatever keeps channels apart."""
    found: dict[str, Reals] = {}
    consumers = graph.consumers()
    made = [value for node in reversed(graph.nodes) for value in node.outputs]
    for value in (*made, *graph.inputs):
        if value not in analysis.codings:
            continue
        axis = analysis.codings[value].axis
        total = np.zeros(graph.shape(value)[axis])
        for node in consumers.get(value, []):
            coding = analysis.codings.get(node.outputs[0])
            behind = found.get(node.outputs[0]) if coding and coding.axis == axis else None
            total += _seen_by(graph, node, value, axis, behind)
        found[value] = total / total.mean() if total.any() else np.ones(len(total))
    return found


def _seen_by(graph: Graph, node: Node, value: str, axis: int, behind: Reals | None) -> Reals:
    """What one reader makes of errors.

    Args:
        axis: of the channels.
        behind: what is made of errors of its result, of which the channels lie along the same axis;
            None where that is not known.
    """
    channels = graph.shape(value)[axis]
    weight = weight_of(graph, node)
    if weight.size and order_read(graph, node)[-1] == axis:
        outputs, inputs = weight.shape[:2]
        squares = np.square(weight.reshape(outputs, inputs, -1)).sum(axis=2)
        if behind is not None:
            squares *= behind[:, None]
        groups = channels // inputs
        return np.asarray(squares.reshape(groups, -1, inputs).sum(axis=1).reshape(-1))
    if weight.size or behind is None:
        return np.ones(channels)
    seen = np.zeros(channels)
    match node.op:
        case Concat(axis=along) if along == axis:
            first = 0
            for name in node.inputs:
                size = graph.shape(name)[axis]
                if name == value:
                    seen += behind[first : first + size]
                first += size
        case Gather(axis=along, indices=indices) if along == axis:
            np.add.at(seen, list(indices), behind)
        case Slice(starts=starts, stops=stops, steps=steps):
            seen[slices(starts, stops, steps)[axis]] = behind
        case _:
            return behind if len(behind) == channels else np.ones(channels)
    return seen


def with_reserve(exponents: Exponents, weights: Reals) -> Exponents:
    """Coarser exponents for channels of which layers see the least errors, until all errors
    together have grown by `GROWTH`; none coarser than the tensor's coarsest.

    Args:
        exponents: [channels] that reach what was seen.
        weights: [channels] of their squared errors, see `weights_of_errors`.
    """
    seen = np.log2(np.maximum(weights, LEAST)) / 2
    coarsest = exponents.max()

    def raised(level: float) -> Exponents:
        """With errors that are seen as those of a step of 2**level, at least."""
        reach = np.floor(np.minimum(level - seen, coarsest) + 1e-9)
        return np.asarray(np.maximum(exponents, reach), np.int64)

    def error(tried: Exponents) -> float:
        return float(np.exp2(2 * (tried + seen)).sum())

    # Errors change only where the level meets a channel.
    levels = np.unique(np.add.outer(seen, np.arange(exponents.min(), coarsest + 1)))
    most = GROWTH * error(exponents)
    count = bisect_right(levels, most, key=lambda level: error(raised(level)))
    return raised(levels[count - 1]) if count else exponents
