"""Hours of measurements lie in one file, made piece by piece."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mquans.errors import MquansError

from .conftest import cell, data


def test_pieces_are_merged_and_replaced(tmp_path: Path) -> None:
    from mquans_studies.cases.record import Record

    file = tmp_path / "bench.json"
    Record(file).put("cells", "a/b/1", {"frames": 1})
    Record(file).put("cells", "a/b/2", {"frames": 2})
    Record(file).put("cells", "a/b/1", {"frames": 3})
    cells = json.loads(file.read_text())["cells"]
    assert {key: value["frames"] for key, value in cells.items()} == {"a/b/1": 3, "a/b/2": 2}
    assert all(value["measured"] for value in cells.values())


def test_other_files_are_not_overwritten(tmp_path: Path) -> None:
    from mquans_studies.cases.record import Record

    file = tmp_path / "model.onnx"
    file.write_text("no JSON")
    with pytest.raises(MquansError, match="not JSON"):
        Record(file)


def test_tables_show_what_there_is() -> None:
    """Also of a record that is only half made."""
    from tables import markdown

    assert "Speed" not in markdown(data())
    shown = markdown(data(cell("yunet", "vtest", 1, 2.0, ort_fp32=4.0, gated=6.0)))
    row, *_ = [line for line in shown.splitlines() if line.startswith("| yunet/vtest/1")]
    assert [part.strip() for part in row.split("|")[1:12]] == [
        "yunet/vtest/1", "4.00", "", "2.00", "", "", "", "10.0 %", "2x", "", "3x",
    ]  # fmt: skip
    assert "| yunet | 1 | 1 | 2x |" in shown
