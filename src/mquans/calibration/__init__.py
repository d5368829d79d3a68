"""The offline half: from a network and a sample of its stream to a plan.

`pipeline` chooses: networks with layers over sites go through `sites.pipeline` (ranges,
sensitivity, tolerance, validation), others through `allocation.pipeline` (ranges, criticality,
allocation, validation). Plans of given bits need neither criticality nor a search. All stages work
on one `CalibrationContext`: its training part gives ranges, its selection part chooses, its
validation part has chosen nothing.
"""

from __future__ import annotations

from mquans.calibration.allocation import (
    GRID_BITS,
    METHODS,
    Allocation,
    Candidate,
    Family,
    Problem,
    allocate,
    layer_plans,
    problem_of,
    solve,
    trace,
    uniform_layers,
)
from mquans.calibration.allocation.pipeline import plans_within
from mquans.calibration.context import CalibrationContext, open_context
from mquans.calibration.criticality import METHODS as CRITICALITIES
from mquans.calibration.criticality import criticality
from mquans.calibration.curves import Curves
from mquans.calibration.inputs import Clip, Spec
from mquans.calibration.inspection import Inspection, inspect
from mquans.calibration.measure import Bench, Measured, Segment
from mquans.calibration.objectives import OBJECTIVES
from mquans.calibration.observe import LayerRange, Observation, Observer
from mquans.calibration.options import CalibrationOptions
from mquans.calibration.pipeline import calibrate, calibrate_fully
from mquans.calibration.resolution import InputSetup, resolve_inputs
from mquans.calibration.result import BudgetError, CalibrationResult, Stages, Sweep
from mquans.calibration.stress import stress_segments

__all__ = [
    "CRITICALITIES",
    "GRID_BITS",
    "METHODS",
    "OBJECTIVES",
    "Allocation",
    "Bench",
    "BudgetError",
    "CalibrationContext",
    "CalibrationOptions",
    "CalibrationResult",
    "Candidate",
    "Clip",
    "Curves",
    "Family",
    "InputSetup",
    "Inspection",
    "LayerRange",
    "Measured",
    "Observation",
    "Observer",
    "Problem",
    "Segment",
    "Spec",
    "Stages",
    "Sweep",
    "allocate",
    "calibrate",
    "calibrate_fully",
    "criticality",
    "inspect",
    "layer_plans",
    "open_context",
    "plans_within",
    "problem_of",
    "resolve_inputs",
    "solve",
    "stress_segments",
    "trace",
    "uniform_layers",
]
