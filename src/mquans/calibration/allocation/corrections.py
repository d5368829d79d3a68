"""How much larger than predicted the loss of each part of a network is, by measuring it alone.

Criticality adds up errors as if they were independent. Errors of held values are alike from
position to position wherever light or compression moves many pixels at once, and then do more harm.
That is measured: one group of neighbouring layers in the steps of a plan, all others on the finest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from mquans.calibration.allocation.candidates import Family
from mquans.calibration.allocation.grids import GRID_BITS, layer_plans
from mquans.calibration.allocation.problem import Problem, Steps, Tensor
from mquans.calibration.allocation.quantizers import quantized

GROUPS = 8
"""The first tensor is one of its own: pictures have errors of their own kind."""

TYPICAL_BITS = 7

LARGEST = 8.0

NEGLIGIBLE = 0.02
"""Share of the predicted loss below which a group's own loss tells nothing."""


def normalized(family: Family) -> Family:
    """The family with all criticality scaled by one factor, so that it predicts the loss of uniform
    bits: some methods know criticality up to a factor only."""
    steps = quantized(family.problem, "uniform", TYPICAL_BITS)
    finest = _loss(family, quantized(family.problem, "uniform", GRID_BITS))
    measured = max(_loss(family, steps) - finest, 0.0)
    predicted = sum(_predicted(tensor, steps) for tensor in family.problem.tensors)
    if not measured or not predicted:
        return family
    return _scaled(family, dict.fromkeys(_names(family.problem), measured / predicted))


def corrected(family: Family, steps: Steps) -> Family:
    """The family with criticality scaled to what was measured, group by group."""
    problem = family.problem
    finest = quantized(problem, "uniform", GRID_BITS)
    floor = _loss(family, finest)
    total = sum(_predicted(tensor, steps) for tensor in problem.tensors)
    factors: dict[str, float] = {}
    groups = _groups(problem)
    for group in family.track(groups, "correcting", len(groups)):
        mixed = {**finest, **{tensor.name: steps[tensor.name] for tensor in group}}
        measured = max(_loss(family, mixed) - floor, 0.0) + NEGLIGIBLE * total
        predicted = sum(_predicted(tensor, steps) for tensor in group) + NEGLIGIBLE * total
        ratio = measured / predicted if predicted > 0 else 1.0
        for tensor in group:
            factors[tensor.name] = float(np.clip(ratio, 1 / LARGEST, LARGEST))
    return _scaled(family, factors)


def _scaled(family: Family, factors: Mapping[str, float]) -> Family:
    tensors = tuple(
        replace(tensor, criticality=tensor.criticality * factors[tensor.name])
        for tensor in family.problem.tensors
    )
    return replace(family, problem=replace(family.problem, tensors=tensors))


def _names(problem: Problem) -> list[str]:
    return [tensor.name for tensor in problem.tensors]


def _groups(problem: Problem) -> list[list[Tensor]]:
    rest = problem.tensors[1:]
    parts = np.array_split(np.arange(len(rest)), min(GROUPS - 1, len(rest)) or 1)
    groups = [list(problem.tensors[:1]), *([rest[i] for i in part] for part in parts)]
    return [group for group in groups if group]


def _predicted(tensor: Tensor, steps: Steps) -> float:
    return float(tensor.criticality @ tensor.at(steps[tensor.name])[1])


def _loss(family: Family, steps: Steps) -> float:
    layers = layer_plans(family.problem, steps, weight_bits=family.weight_bits)
    return family.probe(layers, family.rule)
