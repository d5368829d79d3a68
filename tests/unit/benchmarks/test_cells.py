"""A cell of the table, measured on a small network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from mquans.evaluate import Agreement
from mquans.importers import read_model

Frames = npt.NDArray[np.float32]


def test_cell_has_all_engines_beside_ours(
    small_model: Path,
    small_frames: Frames,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every engine with time, fidelity and description; ours with its work and memory."""
    from cases import NETWORKS, Network
    from cells import Cell, measure
    from plans import Judge, uniform_plan

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setitem(NETWORKS, "small", Network(None, "", "x", 16, 16))
    model = read_model(small_model)
    frames = [{"x": frame} for frame in small_frames[:, None]]
    judge = Judge.of("small", model, frames[:8], frames[8:])
    plan, judged = uniform_plan(judge, frames[:8])
    assert judged["keeps_rule"]
    assert judged["rel_sq_p95"] <= min(0.01, judged["int8_rel_sq_p95"])
    cell = Cell(
        "small", "square", 2, model, frames[:8], frames[8:], {"uniform": plan}, {"uniform": judged}
    )
    found = measure(cell, ["ort-int8", "ort-int8-qoperator", "gated"])
    assert set(found["engines"]) == {
        "mquans", "mquans-1-thread", "ort-fp32", "ort-int8", "ort-int8-qoperator", "gated",
    }  # fmt: skip
    assert set(found["speedup"]["mquans"]) == {
        "ort-fp32", "ort-int8", "ort-int8-qoperator", "gated",
    }  # fmt: skip
    assert found["engines"]["gated"]["rel_sq_p95"] <= judged["rel_sq_p95"]
    assert 0 < found["engines"]["mquans"]["macs_fraction"] <= 1
    assert found["engines"]["mquans"]["rel_sq_p95"] == pytest.approx(judged["rel_sq_p95"])
    assert found["moving_frames"] > 0.5
    for row in found["engines"].values():
        assert row["time_ms"].keys() >= {"median", "p95", "mean", "first"}
        assert row["description"]


def test_plan_is_chosen_by_fidelity() -> None:
    """Too few bits, worse than int8, or a lost object: not measured."""
    from fidelity import Fidelity

    def keeps(rel_sq: float, f1: float | None, int8: float | None) -> bool:
        agreement = Agreement(0, 0, 0, rel_sq, 0, 0, 1)
        return Fidelity(agreement, f1, 10).keeps_rule(int8)

    assert keeps(0.01, 0.99, 0.05)
    assert keeps(0.01, None, None)
    assert not keeps(0.011, 1.0, 0.05)
    assert not keeps(0.009, 0.98, 0.05)
    assert not keeps(0.002, 1.0, 0.001)
