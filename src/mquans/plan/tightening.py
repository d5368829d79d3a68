"""A more careful plan: what a stream falls back on that has left its budget."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt

from mquans.plan.schema import LayerPlan, Plan

Bits = npt.NDArray[np.int64]


def tightened(plan: Plan, half_steps: int) -> Plan:
    """The plan with bits added, up to its grid's.

    The more critical half of the neurons comes first: `half_steps` of 1 gives it one bit more, 2
    gives one to all, 3 a second one to the critical half, and so on. Most critical are, as far as a
    plan tells, the neurons with the smallest steps for their layer's range; where all are alike,
    all are in that half. A bit halves a step and so quarters its squared error. Gates follow: every
    second half step halves the tolerances and the share that the motion gate asks for, and with
    the last one all changes pass.

    Returns:
        A new plan; the same, when every neuron has all the bits of the grid.
    """
    kept = 0.0 if half_steps >= 2 * plan.grid_bits else 2.0 ** (-half_steps / 2)
    plan = msgspec.structs.replace(
        plan,
        tolerance=kept * plan.tolerance,
        motion_gate=kept * plan.motion_gate,
        motion_tolerance=kept * plan.motion_tolerance,
    )
    precisions = [_precision(layer) for layer in plan.layers]
    median = float(np.median(np.concatenate(precisions))) if precisions else 0.0
    return _with_bits(
        plan,
        [
            _bits(layer) + np.where(precision >= median, (half_steps + 1) // 2, half_steps // 2)
            for layer, precision in zip(plan.layers, precisions, strict=True)
        ],
    )


def finest(plan: Plan) -> Plan:
    """The plan with all the bits of the grid for every neuron, and gates that all changes pass."""
    plan = msgspec.structs.replace(plan, tolerance=0.0, motion_gate=0.0, motion_tolerance=0.0)
    return _with_bits(plan, [np.full(1, plan.grid_bits) for _ in plan.layers])


def _with_bits(plan: Plan, bits: list[Bits]) -> Plan:
    layers = tuple(
        msgspec.structs.replace(layer, bits=_shortest(np.minimum(wanted, plan.grid_bits)))
        for layer, wanted in zip(plan.layers, bits, strict=True)
    )
    return msgspec.structs.replace(plan, layers=layers)


def _shortest(bits: Bits) -> int | tuple[int, ...]:
    values = tuple(int(value) for value in bits)
    return values[0] if len(set(values)) == 1 else values


def _bits(layer: LayerPlan) -> Bits:
    return np.atleast_1d(np.asarray(layer.bits, np.int64))


def _precision(layer: LayerPlan) -> npt.NDArray[np.float64]:
    """log2 of the layer's range over every neuron's step; one number where all are alike."""
    delta = np.atleast_1d(np.asarray(layer.delta, np.float64))
    return np.asarray(_bits(layer) + np.log2(delta.max() / delta))
