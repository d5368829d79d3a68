"""A calibration becomes a page without further questions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

import mquans
from mquans.calibration import CalibrationOptions, calibrate_fully, plans_within
from mquans.report import content_of, report_calibration

Frames = npt.NDArray[np.float32]


def test_the_page_shows_what_calibration_found(
    small_model: Path, small_frames: Frames, tmp_path: Path
) -> None:
    """Every layer, every method that was compared, the budget, and where work is done."""
    frames = np.concatenate([small_frames] * 3)
    result = calibrate_fully(
        small_model, frames, max_loss=0.05, stress=False, compare=("criticality", "uniform")
    )
    page = tmp_path / "page.html"
    report_calibration(result, small_model, frames, page)
    text = page.read_text()
    assert text.count("<svg") == 3
    for name in ("first", "second", "third", "criticality", "uniform", "budget 0.05"):
        assert name in text
    assert ("verdict kept" in text) == result.reached


def test_numbers_are_those_of_the_result(small_model: Path, small_frames: Frames) -> None:
    frames = np.concatenate([small_frames] * 3)
    result = calibrate_fully(small_model, frames, max_loss=0.05, stress=False)
    session = mquans.Session(small_model, result.plan)
    content = content_of(result, session)
    assert content.work is None
    assert [row.name for row in content.layers] == ["first", "second", "third"]
    macs = [layer.macs for layer in session.lowered.site_layers.values()]
    assert [row.macs for row in content.layers] == macs
    for row, channels in zip(content.layers, (3, 8, 8), strict=True):
        assert row.bits.shape == (channels,)
        np.testing.assert_array_equal(row.bits, np.rint(result.stages.widths[row.name]))


def test_value_by_value_there_is_more_to_tell(small_model: Path, small_frames: Frames) -> None:
    """Criticality of every neuron, and how many values change at which width."""
    frames = np.concatenate([small_frames] * 3)
    options = CalibrationOptions(stress=False, frames=60)
    (result,) = plans_within((0.05,), small_model, frames, options)
    content = content_of(result, mquans.Session(small_model, result.plan))
    for row, neurons in zip(content.layers, (3, 8, 8), strict=True):
        assert row.bits.shape == (neurons,)
        assert row.criticality is not None
        assert row.criticality.shape == (neurons,)
        assert row.change is not None
        assert (np.diff(row.change.mean(axis=0)) > -1e-9).all()


def test_uniform_bits_have_a_page_too(
    small_model: Path, small_frames: Frames, tmp_path: Path
) -> None:
    """Without what was not asked for: trade-offs, criticality, change curves."""
    result = calibrate_fully(small_model, small_frames, bits=6)
    report_calibration(result, small_model, small_frames, tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text().count("<svg") == 2
