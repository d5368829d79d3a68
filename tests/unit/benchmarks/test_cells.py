"""A cell of the table, measured on a small network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from mquans.metrics.agreement import Agreement
from mquans.onnx import read_model

Frames = npt.NDArray[np.float32]


def test_cell_has_all_engines_beside_ours(
    small_model: Path,
    small_frames: Frames,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every engine with time, fidelity and description; ours with its work and memory."""
    from cells import Cell, measure

    from mquans_studies.cases.networks import NETWORKS, Network
    from mquans_studies.cases.plans import Judge, criticality_plan, uniform_plan

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(NETWORKS, "small", Network(None, "", "x", 16, 16))
    model = read_model(small_model)
    frames = [{"x": frame} for frame in small_frames[:, None]]
    judge = Judge.of("small", model, frames[:8], frames[8:])
    made = {
        "uniform": uniform_plan(judge, frames[:8]),
        "criticality": criticality_plan(judge, frames[:8]),
    }
    plans = {kind: plan for kind, (plan, _) in made.items()}
    judged = {kind: how for kind, (_, how) in made.items()}
    for how in judged.values():
        assert how["keeps_rule"]
        assert how["rel_sq_p95"] <= how["int8_rel_sq_p95"]
    cell = Cell("small", "square", 2, model, frames[:8], frames[8:], plans, judged)
    found = measure(cell, ["ort-int8", "ort-int8-qoperator", "gated"])
    assert set(found["engines"]) == {
        "mquans", "mquans-criticality", "mquans-dense", "mquans-1-thread",
        "ort-fp32", "ort-int8", "ort-int8-qoperator", "gated",
    }  # fmt: skip
    assert set(found["speedup"]["mquans"]) == {
        "ort-fp32", "ort-int8", "ort-int8-qoperator", "gated",
    }  # fmt: skip
    assert found["engines"]["gated"]["rel_sq_p95"] <= judged["uniform"]["int8_rel_sq_p95"]
    assert 0 < found["engines"]["mquans"]["macs_fraction"] <= 1
    for kind, name in (("uniform", "mquans"), ("criticality", "mquans-criticality")):
        measured = found["engines"][name]
        assert measured["rel_sq_p95"] == pytest.approx(judged[kind]["rel_sq_p95"])
        assert found["engines"]["mquans-dense"]["rel_sq_p95"] <= measured["rel_sq_p95"]
    assert found["moving_frames"] > 0.5
    for row in found["engines"].values():
        assert row["time_ms"].keys() >= {"median", "p95", "mean", "first"}
        assert row["description"]


def test_plan_is_chosen_by_fidelity() -> None:
    """Worse than int8, or too many lost objects: not measured."""
    from mquans_studies.cases.fidelity import Fidelity, Rule

    def keeps(rel_sq: float, f1: float | None, int8: float | None) -> bool:
        agreement = Agreement(0, 0, 0, rel_sq, 0, 0, 1)
        return Rule(int8).kept(Fidelity(agreement, f1, 10))

    assert keeps(0.05, 0.98, 0.05)
    assert keeps(0.01, None, None)
    assert not keeps(0.011, None, None)
    assert not keeps(0.009, 0.97, 0.05)
    assert not keeps(0.002, 1.0, 0.001)


def test_largest_tolerance_keeps_the_rule(
    small_model: Path, small_frames: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a stricter rule it is smaller; one that nothing keeps is told."""
    from mquans_studies.cases.fidelity import Rule
    from mquans_studies.cases.networks import NETWORKS, Network
    from mquans_studies.cases.plans import Judge, criticality_plan

    monkeypatch.setitem(NETWORKS, "small", Network(None, "", "x", 16, 16))
    frames = [{"x": frame} for frame in small_frames[:, None]]
    judge = Judge.of("small", read_model(small_model), frames[:8], frames[8:])
    found = []
    for limit in (1e-2, 1e-4, 1e-12):
        judge.rule = Rule(limit)
        plan, judged = criticality_plan(judge, frames[:8])
        found.append(plan.tolerance)
        assert judged["tolerance"] == plan.tolerance
        assert judged["keeps_rule"] == (limit > 1e-12)
    assert found == sorted(found, reverse=True)
