"""How often the same integer weight comes again: what UCNN and CREW could save."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mquans.graph import Conv, Graph, Node
from mquans.plan import Plan
from mquans.runtime.lowering.quantization import quantize_weights

REPEATED_BITS = 8
"""Weights of 16 bits hardly ever repeat; the papers on repetition quantize to 8 bits or fewer."""


@dataclass(frozen=True, slots=True)
class WeightRepetition:
    """Counts over the integer weights of a layer, each output channel on its own scale.

    Attributes:
        bits: of the weights.
        nonzero: weights other than 0.
        per_output: distinct values other than 0 among the weights of an output channel, summed
            over outputs: multiplications of one output position if inputs that share a weight are
            added up first (UCNN, ISCA 2018).
        per_input: distinct magnitudes other than 0 among the weights of an input channel, summed
            over inputs: multiplications if products are shared by all outputs (CREW).
    """

    bits: int
    nonzero: int
    per_output: int
    per_input: int


def weight_repetition(graph: Graph, node: Node, plan: Plan) -> WeightRepetition:
    """Repetition among a layer's weights, quantized like those of a plan with int8 weights."""
    weight = np.asarray(graph.constants[node.inputs[1]], np.float64)
    if not isinstance(node.op, Conv):
        # Inputs first; outputs of a group of a transposed convolution stand for all groups.
        weight = np.moveaxis(weight, 0, 1)
    integers = quantize_weights(weight, bits=REPEATED_BITS, grid_bits=plan.grid_bits).values
    groups = node.op.groups if isinstance(node.op, Conv) else 1
    split = np.abs(integers).reshape(groups, len(integers) // groups, integers.shape[1], -1)
    by_input = split.swapaxes(1, 2).reshape(groups * integers.shape[1], -1)
    return WeightRepetition(
        REPEATED_BITS,
        int(np.count_nonzero(integers)),
        _distinct(integers),
        _distinct(by_input),
    )


def _distinct(values: npt.NDArray[np.int16]) -> int:
    """Distinct values other than 0 in each row, summed over rows."""
    ordered = np.sort(values.reshape(len(values), -1), axis=1)
    first = np.ones(ordered.shape, np.bool_)
    first[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    return int((first & (ordered != 0)).sum())
