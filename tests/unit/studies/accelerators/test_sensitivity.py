"""How far results hold: every group of constants moves what it should, and the published pair."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from mquans.errors import MquansError
from mquans_studies.accelerators import accelerator_names, load_accelerator, simulate
from mquans_studies.accelerators.accelerator import Positive
from mquans_studies.accelerators.constants import constants
from mquans_studies.accelerators.sensitivity import (
    GROUPS,
    at_end,
    main,
    paths_of,
    sensitivity,
    setting_for,
    worst,
)
from mquans_studies.traces.trace import Trace
from mquans_studies.traces.trace_file import save_trace

from .layers import conv_geometry, masks, trace_of, traced

REUSE = load_accelerator("reuse")


@pytest.fixture
def trace() -> Trace:
    geometry = conv_geometry(32, 32, 24, 3, 1, 1)
    return trace_of(*[traced(geometry, masks(geometry, 0.15, 2, seed)) for seed in range(3)])


@pytest.mark.parametrize("name", accelerator_names())
def test_groups_share_no_constant(name: str) -> None:
    """A constant that two groups vary would count twice."""
    design = load_accelerator(name)
    found = [path for group in GROUPS for path in paths_of(design, group)]
    assert len(set(found)) == len(found)
    assert "memories.dram.read_pj" in paths_of(design, "DRAM energy")
    assert len(paths_of(design, "leakage")) == 1 + len(design.memories)


def test_swings(trace: Trace) -> None:
    """Sorted by what they do to energy; efficiency is time, DRAM is energy."""
    swings = sensitivity(trace, REUSE)
    found = {swing.group: swing for swing in swings}
    assert set(found) == {group for group in GROUPS if paths_of(REUSE, group)}
    spans = [abs(swing.energy_saved[1] - swing.energy_saved[0]) for swing in swings]
    assert spans == sorted(spans, reverse=True)
    assert found["array efficiency"].speedup[0] < found["array efficiency"].speedup[1]
    assert found["DRAM energy"].speedup[0] == found["DRAM energy"].speedup[1]
    low = {entry.path: entry.figure for entry in constants(at_end(REUSE, ["static_mw"], 0))}
    assert low["static_mw"].value == low["static_mw"].range[0]


def test_all_constants_against_reuse(trace: Trace) -> None:
    """Each group alone can only be kinder than all at once."""
    swings = sensitivity(trace, REUSE)
    speedup, saved = worst(trace, REUSE)
    assert speedup <= min(min(swing.speedup) for swing in swings)
    assert saved < min(min(swing.energy_saved) for swing in swings)


def test_published_pair(trace: Trace) -> None:
    """2.7x with only 38 %: what stays from frame to frame eats the rest, whoever works."""
    pair = setting_for(trace, REUSE, 2.7, 0.38)
    assert pair.efficiency < 1
    slower = Positive(pair.efficiency, "a test", (0.01, 1.0))
    found = simulate(trace, replace(REUSE, reuse_efficiency=slower))
    assert found.speedup == pytest.approx(2.7)
    constant = 1e9 * pair.constant_mj
    dense = found.as_dict()["dense"]["energy_pj"]
    assert 1 - (found.energy_pj + constant) / (dense + constant) == pytest.approx(0.38)
    assert constant / (dense + constant) == pytest.approx(pair.constant_share)
    mw = sum(memory.static_mw.value for memory in REUSE.memories) + REUSE.static_mw.value
    assert pair.static_ms * mw * 1e6 == pytest.approx(constant)


def test_pairs_that_cannot_be(trace: Trace) -> None:
    with pytest.raises(MquansError, match="not 100 times as fast"):
        setting_for(trace, REUSE, 100, 0.38)
    with pytest.raises(MquansError, match="saves less than 99 %"):
        setting_for(trace, REUSE, 2.7, 0.99)


def test_command(
    trace: Trace,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, plot = tmp_path / "t.npz", tmp_path / "t.svg"
    save_trace(trace, path)
    monkeypatch.setattr("sys.argv", ["sensitivity", str(path), "-o", str(plot)])
    main()
    shown = capsys.readouterr().out
    assert "| DRAM energy |" in shown
    assert "| all at their worst |" in shown
    assert "2.7x and 38 %: reuse_efficiency" in shown
    assert plot.read_text().startswith("<?xml")
