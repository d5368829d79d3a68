"""The offline half: from a network and a sample of its stream to a plan.

    observe -> criticality -> allocate -> verify

`budget` shows the stages in order. Plans of given bits need neither criticality nor a search.
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
from mquans.calibration.budget import LATE, Goal, plans_within
from mquans.calibration.criticality import METHODS as CRITICALITIES
from mquans.calibration.criticality import criticality
from mquans.calibration.curves import Curves
from mquans.calibration.inputs import Clip, Spec
from mquans.calibration.inspection import Inspection, inspect
from mquans.calibration.measure import Bench, Measured, Segment
from mquans.calibration.objectives import OBJECTIVES
from mquans.calibration.observe import LayerRange, Observation, Observer
from mquans.calibration.pipeline import CalibrationOptions, calibrate, calibrate_fully
from mquans.calibration.resolution import InputSetup, resolve_inputs
from mquans.calibration.result import BudgetError, CalibrationResult, Stages, Sweep
from mquans.calibration.stress import stress_segments
from mquans.calibration.workspace import Selected

__all__ = [
    "CRITICALITIES",
    "GRID_BITS",
    "LATE",
    "METHODS",
    "OBJECTIVES",
    "Allocation",
    "Bench",
    "BudgetError",
    "CalibrationOptions",
    "CalibrationResult",
    "Candidate",
    "Clip",
    "Curves",
    "Family",
    "Goal",
    "InputSetup",
    "Inspection",
    "LayerRange",
    "Measured",
    "Observation",
    "Observer",
    "Problem",
    "Segment",
    "Selected",
    "Spec",
    "Stages",
    "Sweep",
    "allocate",
    "calibrate",
    "calibrate_fully",
    "criticality",
    "inspect",
    "layer_plans",
    "plans_within",
    "problem_of",
    "resolve_inputs",
    "solve",
    "stress_segments",
    "trace",
    "uniform_layers",
]
