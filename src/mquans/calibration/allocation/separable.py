"""Steps that minimise work for a loss: for one multiplier of the loss, every neuron decides alone.

    minimise  sum_c cost[c] * change[c](step) + multiplier * sum_c criticality[c] * error[c](step)

Source: design, section 4. What the sum over neurons does not know is measured and fed back as one
factor per tensor: how many MACs a predicted MAC stands for. It is less than 1 where coarser steps
upstream keep values from moving, and more where one moving value makes the engine compute a whole
pixel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mquans.calibration.allocation.problem import Problem, Steps, Tensor
from mquans.calibration.curves import Sums
from mquans.evaluate import Work

LARGEST_FACTOR = 32.0


@dataclass(frozen=True, slots=True)
class Predicted:
    """Steps and what the curves say of them: MACs per frame, and loss."""

    steps: dict[str, Sums]
    macs: float
    loss: float


def solve(
    problem: Problem,
    multiplier: float,
    *,
    factors: Mapping[str, float] | None = None,
    per_tensor: bool = False,
) -> Predicted:
    """The best steps at a multiplier.

    Args:
        multiplier: dense frames' MACs that a loss of 1 is worth.
        factors: MACs per predicted MAC, by tensor; 1 where absent.
        per_tensor: one step for all neurons of a tensor.
    """
    steps: dict[str, Sums] = {}
    macs = loss = 0.0
    for tensor in problem.tensors:
        work = tensor.cost[:, None] * tensor.change * (factors or {}).get(tensor.name, 1.0)
        lost = tensor.criticality[:, None] * tensor.error
        total = work + multiplier * problem.macs * lost
        # Of equals the coarsest: a neuron that never moved shall not start to cost.
        if per_tensor:
            chosen = np.full(len(total), _last_least(total.sum(axis=0)[None])[0])
        else:
            chosen = _last_least(total)
        steps[tensor.name] = tensor.steps[chosen]
        every = np.arange(len(chosen))
        macs += float(work[every, chosen].sum())
        loss += float(lost[every, chosen].sum())
    return Predicted(steps, macs, loss)


def _last_least(values: Sums) -> npt.NDArray[np.intp]:
    """Index of the least value of each row, the last one of equals."""
    found: npt.NDArray[np.intp] = values.shape[1] - 1 - np.argmin(values[:, ::-1], axis=1)
    return found


def work_factors(problem: Problem, steps: Steps, work: Work) -> dict[str, float]:
    """MACs measured / MACs predicted under these steps, by tensor."""
    return {
        tensor.name: _factor(tensor, steps[tensor.name], work, problem.objective == "energy")
        for tensor in problem.tensors
    }


def _factor(tensor: Tensor, steps: Sums, work: Work, by_change: bool) -> float:
    # The engine lists the second product of a gru that resets first as a layer of its own.
    names = [name for layer in tensor.layers for name in (layer, f"{layer}/reset")]
    layers = [work.layers[name] for name in names if name in work.layers]
    if by_change:
        predicted = float(tensor.at(steps)[0].mean()) * sum(layer.inputs for layer in layers)
        measured = sum(layer.changed for layer in layers)
    else:
        predicted = float(tensor.macs @ tensor.at(steps)[0]) * work.frames
        measured = sum(layer.macs_done for layer in layers)
    if predicted <= 0:
        return 1.0
    return float(np.clip(measured / predicted, 1 / LARGEST_FACTOR, LARGEST_FACTOR))
