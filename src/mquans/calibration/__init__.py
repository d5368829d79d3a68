"""The offline half: from a network and a sample of its stream to a plan.

    observe -> allocate -> measure -> decide

`pipeline` shows the stages in order. Criticality, which tells how much the output suffers per
neuron, comes between the first two; uniform bits need none.
"""

from __future__ import annotations

from mquans.calibration.allocate import GRID_BITS, uniform_layers
from mquans.calibration.inputs import Clip, InputSetup, Spec, load_clips, resolve_inputs
from mquans.calibration.inspection import Inspection, inspect_model
from mquans.calibration.measure import Measured, Measurement, measure
from mquans.calibration.observe import LayerRange, observe
from mquans.calibration.pipeline import calibrate, calibrate_fully, sweep
from mquans.calibration.result import BudgetError, CalibrationResult, Sweep

__all__ = [
    "GRID_BITS",
    "BudgetError",
    "CalibrationResult",
    "Clip",
    "InputSetup",
    "Inspection",
    "LayerRange",
    "Measured",
    "Measurement",
    "Spec",
    "Sweep",
    "calibrate",
    "calibrate_fully",
    "inspect_model",
    "load_clips",
    "measure",
    "observe",
    "resolve_inputs",
    "sweep",
    "uniform_layers",
]
