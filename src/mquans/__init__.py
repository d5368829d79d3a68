"""Run trained networks on streams, recomputing only what changed, bit for bit.

    import mquans

    plan = mquans.calibrate("model.onnx", "clip.mp4", bits=8)
    session = mquans.Session("model.onnx", plan)
    with session.stream() as camera:
        for frame in mquans.open_source("clip.mp4", plan.input):
            outputs = camera.step(frame)

Names are loaded when they are first used: importing the package costs no more than numpy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mquans.calibration import BudgetError, CalibrationResult, calibrate, inspect
    from mquans.errors import (
        DependencyError,
        FrameError,
        MetricError,
        ModelError,
        MquansError,
        PlanError,
        RefusedFrameError,
        SourceError,
        StateError,
        UnsupportedOperatorError,
    )
    from mquans.functions import compare, verify
    from mquans.plan import AudioFormat, InputFormat, LayerPlan, Plan, Provenance, read_plan
    from mquans.runtime.guard import Guard, GuardReport
    from mquans.runtime.layers import Violation
    from mquans.runtime.replay import Replayed, replay
    from mquans.runtime.session import Session
    from mquans.runtime.stats import LayerStats, StreamStats
    from mquans.runtime.stream import Stream
    from mquans.sources import (
        AudioFrames,
        FirstFrame,
        OverlapAdd,
        Source,
        SourceWarning,
        guess_audio_format,
        guess_format,
        open_source,
    )

__all__ = [
    "AudioFormat",
    "AudioFrames",
    "BudgetError",
    "CalibrationResult",
    "DependencyError",
    "FirstFrame",
    "FrameError",
    "Guard",
    "GuardReport",
    "InputFormat",
    "LayerPlan",
    "LayerStats",
    "MetricError",
    "ModelError",
    "MquansError",
    "OverlapAdd",
    "Plan",
    "PlanError",
    "Provenance",
    "RefusedFrameError",
    "Replayed",
    "Session",
    "Source",
    "SourceError",
    "SourceWarning",
    "StateError",
    "Stream",
    "StreamStats",
    "UnsupportedOperatorError",
    "Violation",
    "calibrate",
    "compare",
    "guess_audio_format",
    "guess_format",
    "inspect",
    "open_source",
    "read_plan",
    "replay",
    "verify",
]

_HOMES = {
    "mquans.calibration": ("BudgetError", "CalibrationResult", "calibrate", "inspect"),
    "mquans.runtime.layers": ("Violation",),
    "mquans.runtime.replay": ("Replayed", "replay"),
    "mquans.runtime.session": ("Session",),
    "mquans.runtime.stats": ("LayerStats", "StreamStats"),
    "mquans.runtime.stream": ("Stream",),
    "mquans.errors": (
        "DependencyError",
        "FrameError",
        "MetricError",
        "ModelError",
        "MquansError",
        "PlanError",
        "RefusedFrameError",
        "SourceError",
        "StateError",
        "UnsupportedOperatorError",
    ),
    "mquans.runtime.guard": ("Guard", "GuardReport"),
    "mquans.functions": ("compare", "verify"),
    "mquans.plan": ("AudioFormat", "InputFormat", "LayerPlan", "Plan", "Provenance", "read_plan"),
    "mquans.sources": (
        "AudioFrames",
        "FirstFrame",
        "OverlapAdd",
        "Source",
        "SourceWarning",
        "guess_audio_format",
        "guess_format",
        "open_source",
    ),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("mquans")
    if name not in _HOME:
        raise AttributeError(f"module 'mquans' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
