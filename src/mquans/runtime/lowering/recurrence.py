"""The native step of a Recurrence, and the reuse layers that it drives."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, get_args

import msgspec
import numpy as np

from mquans.graph import GATES, Node, Recurrence, RecurrenceKind
from mquans.plan import LayerPlan
from mquans.runtime.lowering import layout
from mquans.runtime.lowering.layout import Placed
from mquans.runtime.lowering.operators import activation_code
from mquans.runtime.lowering.quantization import deltas, steps

if TYPE_CHECKING:
    from mquans.runtime.lowering.program import Lowering

KINDS: tuple[RecurrenceKind, ...] = get_args(RecurrenceKind)
"""The native enumeration follows this order."""

NO_TIME, FORWARD, BACKWARD = range(3)
"""Whether the rows of a quantized tensor are time steps, as the native `Order`."""


def add_recurrence(low: Lowering, node: Node, op: Recurrence) -> None:
    """Adds the recurrent product, once or, for a gru that resets before it, twice, and the step.

    The native layer of the second product is named behind the node: "<name>/reset".
    """
    p, weight, bias, h, c, peepholes = (*node.inputs, "", "", "", "")[:6]
    time_steps, batch, _ = low.graph.shape(p)
    matrix = np.asarray(low.graph.constants[weight], np.float64).T
    hidden = matrix.shape[1]
    rows = np.zeros((1, 1), np.int32), np.arange(batch, dtype=np.int32)[:, None]
    split = 2 * hidden if op.states == 2 else GATES[op.kind] * hidden
    layers = []
    for index, part in enumerate(np.split(matrix, [split])[: op.states]):
        name = f"{node.name}/reset" if index else node.name
        plan = _part(low, node.name, op, index, hidden)
        x = low.program.add_tensor(time_steps, batch, hidden)
        quantized = low.quantize(
            Placed(x, layout.identity(3), (time_steps, batch, hidden)), plan, hidden,
            time=BACKWARD if op.reverse else FORWARD, externally_clocked=True,
        )  # fmt: skip
        y = low.program.add_tensor(1, batch, len(part))
        low.layers[name] = low.add_layer(
            name,
            plan,
            quantized,
            y,
            part,
            bias if op.states == 1 else "",
            rows,
            externally_clocked=True,
        )
        layers.append(low.layers[name])

    def placed(value: str) -> int:
        if not value:
            return -1
        found = low.in_order(value, low.row_major(value))
        return low.compact(value, found).tensor

    p_tensor, h_tensor, c_tensor = placed(p), placed(h), placed(c)
    outputs = [low.new(value, low.row_major(value)).tensor for value in node.outputs]
    low.program.add_recurrence(
        name=node.name,
        kind=KINDS.index(op.kind),
        reset_after=op.reset_after,
        clip=math.inf if op.clip is None else op.clip,
        activations=[activation_code(f) for f in op.activations],
        peepholes=low.graph.constants[peepholes].reshape(-1).tolist() if peepholes else [],
        lengths=list(op.lengths),
        layers=layers,
        p=p_tensor,
        h=h_tensor,
        c=c_tensor,
        y=outputs[0],
        last_h=outputs[1],
        last_c=outputs[2] if op.kind == "lstm" else -1,
    )


def _part(low: Lowering, name: str, op: Recurrence, index: int, hidden: int) -> LayerPlan:
    """The plan of one of the vectors that the layer multiplies."""
    layer = low.plan.layer(name)
    if op.states == 1:
        return layer
    part = slice(index * hidden, (index + 1) * hidden)
    neurons = hidden * op.states
    bits = low.plan.grid_bits - np.log2(steps(layer, low.plan.grid_bits, neurons)).astype(int)
    return msgspec.structs.replace(
        layer,
        delta=tuple(deltas(layer, neurons)[part].tolist()),
        bits=tuple(bits[part].tolist()),
    )
