"""What a report shows, as plain arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Curve = list[tuple[float, float]]
"""Points (MACs done / dense MACs, measured loss) of one method, by rising work."""


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One reuse layer of the plan.

    Attributes:
        macs: of one dense frame.
        macs_fraction: MACs done / dense MACs over the measured frames.
        similarity: fraction of its inputs whose held value did not change.
        bits: per neuron, [neurons].
        criticality: per neuron, growth of the loss per unit of mean squared error; None if unknown.
        change: share of the neuron's values that change per frame, [neurons, bits from 1]; None if
            unknown.
    """

    name: str
    macs: int
    macs_fraction: float
    similarity: float
    bits: npt.NDArray[np.int64]
    weight_bits: int
    criticality: Floats | None = None
    change: Floats | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """Everything on the page.

    Attributes:
        verdict: one or two sentences; `kept` colours them.
        facts: label and value of every line of the summary.
        pareto: measured points by method.
        chosen: (MACs fraction, loss) of the plan.
        budget: largest accepted loss, or None.
        work: MACs per pixel of the network's input over the measured frames, [height, width]; None
            for networks that see no pictures.
        picture: grey values of one frame beneath it, [height, width].
    """

    title: str
    verdict: str
    kept: bool
    facts: Mapping[str, str]
    layers: list[LayerRow]
    pareto: Mapping[str, Curve]
    chosen: tuple[float, float]
    budget: float | None = None
    work: Floats | None = None
    picture: npt.NDArray[Any] | None = field(default=None)
