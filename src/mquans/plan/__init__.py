"""The plan: schema, file, checks. The only thing passed from calibration to the engine."""

from mquans.plan.audio import AudioFormat
from mquans.plan.checks import check_model, check_plan
from mquans.plan.feedback import Feedback, problem_with_feedback
from mquans.plan.file import plan_fingerprint, read_plan, write_plan
from mquans.plan.options import NetworkOptions
from mquans.plan.pixels import pixel_scale, pixel_values
from mquans.plan.schema import (
    GatePlan,
    InputFormat,
    LayerPlan,
    Plan,
    Provenance,
    Rule,
    TensorPlan,
)
from mquans.plan.tightening import finest, tightened

__all__ = [
    "AudioFormat",
    "Feedback",
    "GatePlan",
    "InputFormat",
    "LayerPlan",
    "NetworkOptions",
    "Plan",
    "Provenance",
    "Rule",
    "TensorPlan",
    "check_model",
    "check_plan",
    "finest",
    "pixel_scale",
    "pixel_values",
    "plan_fingerprint",
    "problem_with_feedback",
    "read_plan",
    "tightened",
    "write_plan",
]
