"""Networks on accelerators: cycles and energy from the activity of a real stream."""

from __future__ import annotations

from mquans_studies.accelerators.accelerator import (
    Accelerator,
    accelerator_names,
    load_accelerator,
    parse_accelerator,
)
from mquans_studies.accelerators.changes import change_energy, dense_layers
from mquans_studies.accelerators.fallback import cheaper_dense
from mquans_studies.accelerators.load import Network, network_of
from mquans_studies.accelerators.model import LayerCost, Simulation, layer_cost, simulate
from mquans_studies.accelerators.scaling import widened
from mquans_studies.accelerators.schemes import SCHEMES, Scheme, scheme
from mquans_studies.accelerators.study import STUDIED, Fallback, Row, markdown, study

__all__ = [
    "SCHEMES",
    "STUDIED",
    "Accelerator",
    "Fallback",
    "LayerCost",
    "Network",
    "Row",
    "Scheme",
    "Simulation",
    "accelerator_names",
    "change_energy",
    "cheaper_dense",
    "dense_layers",
    "layer_cost",
    "load_accelerator",
    "markdown",
    "network_of",
    "parse_accelerator",
    "scheme",
    "simulate",
    "study",
    "widened",
]
