"""One precision for the whole network: what per-neuron steps are compared with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mquans.calibration.allocation.problem import Problem, Tensor
from mquans.calibration.curves import Sums


def uniform(problem: Problem, bits: int) -> dict[str, Sums]:
    """Steps of each layer's range, 0 in it, / 2**bits."""
    return _everywhere(problem, lambda tensor: tensor.range.layer / 2**bits)


def linear(problem: Problem, bits: int) -> dict[str, Sums]:
    """The linear quantizer of Riera et al. (ISCA 2018): `2**bits` levels from the least to the
    largest value of a layer, so steps of `(high - low) / (2**bits - 1)`. Levels are multiples of
    the step; theirs may be shifted by part of one."""

    def step(tensor: Tensor) -> float:
        spread = float(tensor.range.high.max()) - float(tensor.range.low.min())
        return spread / (2.0**bits - 1)

    return _everywhere(problem, step)


def dorefa(problem: Problem, bits: int) -> dict[str, Sums]:
    """The activation quantizer of DoReFa-Net (arXiv 1606.06160): magnitudes scaled to [0, 1] have
    `2**bits` levels, so steps of `max |x| / (2**bits - 1)`."""

    def step(tensor: Tensor) -> float:
        largest = max(float(tensor.range.high.max()), -float(tensor.range.low.min()))
        return largest / (2.0**bits - 1)

    return _everywhere(problem, step)


def _everywhere(problem: Problem, step: Callable[[Tensor], float]) -> dict[str, Sums]:
    return {
        tensor.name: np.full(len(tensor.cost), step(tensor) or 1.0) for tensor in problem.tensors
    }
