"""What `inspect --source` says about each layer, and its verdict."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import mquans
from mquans.evaluate import LayerRow, LayerTable, layer_table
from mquans.onnx import read_model

Frames = npt.NDArray[np.float32]


def table(frame_ms: float, dense_ms: float, other_ms: float = 0.5) -> LayerTable:
    rows = (
        LayerRow("stem", 1000, 0.9, 0.1, "changes", 0.5, 0.2),
        LayerRow("head", 5000, 0.9, 0.3, "sites", 1.5, 0.6),
    )
    return LayerTable(rows, 10, frame_ms, dense_ms, other_ms, 0.25)


def test_every_layer_has_its_work_and_time(
    session: mquans.Session, small_model: Path, small_frames: Frames
) -> None:
    found = layer_table(session, read_model(small_model), small_frames[:, None])
    assert [row.name for row in found.rows] == ["first", "second", "third"]
    assert found.frames == 19  # the first frame would hide what reuse saves
    for row in found.rows:
        assert 0 < row.similarity < 1
        assert 0 < row.macs_fraction < 1
        assert row.mode in ("changes", "dense", "sites")
        assert row.time_ms > 0
    assert sum(row.time_share for row in found.rows) < 1
    assert found.other_ms > 0
    json.dumps(found.as_dict(), allow_nan=False)


def test_still_clip_leaves_no_work(
    session: mquans.Session, small_model: Path, small_frames: Frames
) -> None:
    still = np.repeat(small_frames[:1, None], 5, axis=0)
    found = layer_table(session, read_model(small_model), still)
    assert found.macs_fraction == 0
    assert {row.mode for row in found.rows} == {"idle"}


@pytest.mark.parametrize(
    ("frame_ms", "start"),
    [(2.0, "Reuse is worth it"), (10.0, "Reuse is hardly worth it"),
     (30.0, "Reuse is not worth it")],
)  # fmt: skip
def test_verdict_is_about_time(frame_ms: float, start: str) -> None:
    """MACs saved that cost more than they save are no reason to use reuse."""
    said = table(frame_ms, 10.0).verdict
    assert said.startswith(start)
    assert "25 % of the MACs left" in said
    assert "'head' with 60 % of the time" in said
    assert said.count(". ") == 0


def test_verdict_names_what_is_not_a_layer() -> None:
    assert "between the layers" in table(2.0, 10.0, other_ms=5.0).verdict


def test_one_frame_is_not_enough(
    session: mquans.Session, small_model: Path, small_frames: Frames
) -> None:
    with pytest.raises(mquans.SourceError, match="no frame"):
        layer_table(session, read_model(small_model), small_frames[:1, None])
