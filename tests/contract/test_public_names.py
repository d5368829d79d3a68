"""The names that users import; removing one breaks their code."""

from __future__ import annotations

import inspect

import mquans

NAMES = {
    "AudioFormat", "AudioFrames", "FirstFrame", "OverlapAdd", "guess_audio_format",
    "BudgetError", "CalibrationResult", "DependencyError", "FrameError", "Guard", "GuardReport",
    "InputFormat", "LayerPlan", "LayerStats", "MetricError", "ModelError", "MquansError", "Plan",
    "PlanError", "Provenance", "RefusedFrameError", "Replayed", "Session", "Source", "SourceError",
    "SourceWarning", "StateError",
    "Stream", "StreamStats", "UnsupportedOperatorError", "Violation", "calibrate", "compare",
    "guess_format", "inspect", "open_source", "read_plan", "replay", "verify",
}  # fmt: skip


def test_public_names_are_these() -> None:
    """A new one is a promise, a missing one a breach."""
    assert set(mquans.__all__) == NAMES
    for name in NAMES:
        assert getattr(mquans, name) is not None


def test_every_public_name_says_what_it_is() -> None:
    """`help(mquans.Session)` is the first documentation people see."""
    assert [name for name in NAMES if not inspect.getdoc(getattr(mquans, name))] == []


def test_unknown_names_fail_as_usual() -> None:
    """hasattr() and typing errors must work with names that are loaded late."""
    assert not hasattr(mquans, "calibrat")
    assert "Session" in dir(mquans)


def test_calibrate_stays_a_function_when_its_package_is_imported() -> None:
    """A submodule of the same name would take its place."""
    import mquans.calibration

    assert inspect.isfunction(mquans.calibrate)
    assert inspect.ismodule(mquans.calibration)


def test_session_has_the_methods_of_onnxruntimes() -> None:
    """Code written for it runs unchanged."""
    for name in ("run", "get_inputs", "get_outputs", "get_providers"):
        assert callable(getattr(mquans.Session, name))
