"""Numbers of `mquans compare`, and what a run and an inspection report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import mquans
from mquans.evaluate import compare, coverage, machine_report, run_clip
from mquans.evaluate.machine import cpu_name, energy_counters
from mquans.onnx import import_model, read_model

Frames = npt.NDArray[np.float32]

COMPARE_KEYS = {
    "frames", "macs_total", "macs_done", "computation_reuse", "similarity", "agreement", "time_ms",
    "speedup", "state_bytes", "activation_bytes", "state_ratio", "weights_bytes", "threads", "isa",
}  # fmt: skip


def test_comparison_has_the_stable_keys(
    session: mquans.Session, small_model: Path, small_frames: Frames
) -> None:
    """Scripts read them."""
    result = compare(session, read_model(small_model), small_frames[:, None]).as_dict()
    assert result.keys() >= COMPARE_KEYS
    assert set(result["time_ms"]) == {"mquans", "ort-fp32"}
    assert set(result["speedup"]) == {"ort-fp32"}
    assert result["frames"] == 20
    json.dumps(result, allow_nan=False)


def test_work_adds_up(session: mquans.Session, small_model: Path, small_frames: Frames) -> None:
    """Reuse must be the share of MACs that were not done, first frame included."""
    result = compare(session, read_model(small_model), small_frames[:, None])
    work = result.work
    assert work.computation_reuse == pytest.approx(1 - work.macs_done / work.macs_total)
    assert 0.3 < work.computation_reuse < 1
    assert result.agreement["mquans"].rel_sq_mean < 1e-2


def test_memory_is_judged_by_the_dense_activations(
    session: mquans.Session, small_model: Path, small_frames: Frames
) -> None:
    """Eight streams of a large network must fit where eight dense sessions do."""
    result = compare(session, read_model(small_model), small_frames[:3, None])
    assert result.activation_bytes == 4 * 16 * 16 * (3 + 8 + 8 + 4)
    assert result.state_ratio == result.state_bytes / result.activation_bytes


def test_motion_gate_sits_beside_ours(
    session: mquans.Session, small_model: Path, small_frames: Frames
) -> None:
    """Stale where it repeats, exact where it computes."""
    result = compare(session, read_model(small_model), small_frames[:, None], engines=["gated"])
    assert 0 < result.agreement["gated"].rel_sq_mean < 0.2
    assert result.speedup["gated"] > 0
    assert "repeated otherwise" in result.engines["gated"]


def test_int8_engine_is_judged_beside_ours(
    session: mquans.Session, small_model: Path, small_frames: Frames
) -> None:
    """Its ranges come from the clip's first frames, which are still compared."""
    seen: list[int] = []
    result = compare(
        session,
        read_model(small_model),
        small_frames[:, None],
        engines=["mquans", "ort-int8"],
        on_frame=lambda stream, dense, ours: seen.append(stream.frames),
    )
    assert seen == list(range(1, 21))
    assert 0 < result.agreement["ort-int8"].rel_sq_mean < 0.1
    assert set(result.speedup) == {"ort-fp32", "ort-int8"}


def test_unknown_engine_lists_those_there_are(
    session: mquans.Session, small_model: Path, small_frames: Frames
) -> None:
    """A typing error is answered with the right spelling."""
    with pytest.raises(mquans.MquansError, match="ort-int8"):
        compare(session, read_model(small_model), small_frames, engines=["ort-int4"])


def test_bad_frame_reaches_no_engine(
    session: mquans.Session, small_model: Path, small_frames: Frames
) -> None:
    """Else one engine would have a frame more than the other."""
    frames = small_frames[:, None].copy()
    frames[7] = np.nan
    result = compare(session, read_model(small_model), frames)
    assert (result.work.frames, result.refused) == (19, 1)
    assert np.isfinite(result.agreement["mquans"].loss_p95)


def test_run_reports_every_frame_and_goes_on_after_a_bad_one(
    session: mquans.Session, small_frames: Frames
) -> None:
    """A stream outlives a bad frame."""
    frames = small_frames[:6, None].copy()
    frames[2] = np.inf
    kept: list[Frames] = []
    reports = []
    summary = run_clip(
        session, frames, on_outputs=lambda out: kept.append(out["y"]), on_frame=reports.append
    )
    assert summary.refused == [2]
    assert len(kept) == summary.work.frames == 5
    assert [report.stats is None for report in reports] == [False, False, True, False, False, False]
    assert summary.as_dict()["time_ms"]["median"] > 0


def test_coverage_counts_macs_by_mode(small_model: Path) -> None:
    """`inspect` tells what will be recomputed incrementally."""
    found = coverage(import_model(read_model(small_model)))
    assert [node.mode for node in found.nodes] == ["reuse"] * 3
    assert [node.op for node in found.nodes] == ["Conv + relu", "Conv + relu", "Conv"]
    assert found.macs == 16 * 16 * (8 * 27 + 8 * 9 + 4 * 8)
    assert found.reuse_macs_fraction == 1
    assert found.as_dict().keys() == {
        "nodes",
        "reuse_macs_fraction",
        "fallbacks",
        "obstacle",
        "inner_values",
    }
    assert found.obstacle is None


def test_machine_report_is_plain_data() -> None:
    """`doctor --json` is pasted into bug reports."""
    report = machine_report()
    assert report["isa"] in report["isas"]
    json.dumps(report)


def test_machine_without_counters_or_cpu_info(tmp_path: Path) -> None:
    """Containers often have neither."""
    assert energy_counters(tmp_path) == []
    assert cpu_name(tmp_path / "none")
