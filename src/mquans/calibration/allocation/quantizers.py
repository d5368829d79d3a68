"""One precision for the whole network: what per-neuron steps are compared with."""

from __future__ import annotations

import numpy as np

from mquans.calibration.allocation.problem import Problem
from mquans.calibration.curves import Sums
from mquans.calibration.observe import LayerRange


def uniform_step(seen: LayerRange, bits: float) -> float:
    """Steps of the layer's range, 0 in it, / 2**bits."""
    return float(seen.layer / 2.0**bits)


def linear_step(seen: LayerRange, bits: float) -> float:
    """The linear quantizer of Riera et al. (ISCA 2018): `2**bits` levels from the least to the
    largest value of a layer, so steps of `(high - low) / (2**bits - 1)`. Levels are multiples of
    the step; theirs may be shifted by part of one."""
    spread = float(seen.high.max()) - float(seen.low.min())
    return float(spread / (2.0**bits - 1))


def dorefa_step(seen: LayerRange, bits: float) -> float:
    """The activation quantizer of DoReFa-Net (arXiv 1606.06160): magnitudes scaled to [0, 1] have
    `2**bits` levels, so steps of `max |x| / (2**bits - 1)`."""
    largest = max(float(seen.high.max()), -float(seen.low.min()))
    return float(largest / (2.0**bits - 1))


QUANTIZERS = {"uniform": uniform_step, "linear": linear_step, "dorefa": dorefa_step}
"""Methods whose setting is the number of bits of the whole network: a layer's step."""


def quantized(problem: Problem, method: str, bits: int) -> dict[str, Sums]:
    """Steps of every neuron by tensor, for one of `QUANTIZERS`."""
    step = QUANTIZERS[method]
    return {
        tensor.name: np.full(len(tensor.cost), step(tensor.range, bits) or 1.0)
        for tensor in problem.tensors
    }
