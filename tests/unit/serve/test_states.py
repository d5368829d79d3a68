"""If these break, a full disk or a power cut costs what cameras knew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mquans.errors import MquansError, StateError
from mquans.serve.states import Record, StateFolder, keep_state, take_state


def test_records_are_kept(tmp_path: Path) -> None:
    folder = StateFolder(str(tmp_path / "state"))
    folder.prepare()
    record = Record(7, {"frames": 12}, 3, enabled=False)
    assert folder.write("door", record) == ""
    assert StateFolder(str(tmp_path / "state")).read("door") == record


@pytest.mark.parametrize("content", [b"", b"{", b'{"epoch": "x"}', b"\xff"])
def test_damaged_records_are_no_obstacle(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "door.json").write_bytes(content)
    assert StateFolder(str(tmp_path)).read("door") == Record(0)


def test_what_has_not_changed_is_not_written(tmp_path: Path) -> None:
    """Memory cards wear out."""
    folder = StateFolder(str(tmp_path))
    folder.write("door", Record(1))
    before = (tmp_path / "door.json").stat().st_ino
    folder.write("door", Record(1))
    assert (tmp_path / "door.json").stat().st_ino == before


def test_counters_are_written_now_and_then_and_with_what_else_has_changed(tmp_path: Path) -> None:
    """They change with every frame; a camera's epoch must never be lower than it was."""
    folder = StateFolder(str(tmp_path))
    folder.write("door", Record(1, {"frames": 1}), counters=False)
    assert folder.read("door").counters == {"frames": 1}
    folder.write("door", Record(1, {"frames": 2}), counters=False)
    assert folder.read("door").counters == {"frames": 1}
    folder.write("door", Record(2, {"frames": 3}), counters=False)
    assert folder.read("door") == Record(2, {"frames": 3})
    folder.write("door", Record(2, {"frames": 4}))
    assert folder.read("door").counters == {"frames": 4}


def test_a_full_disk_leaves_the_old_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = StateFolder(str(tmp_path))
    folder.write("door", Record(1))

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert "the disk is full" in folder.write("door", Record(2))
    assert folder.errors == 1
    monkeypatch.undo()
    assert folder.read("door") == Record(1)
    assert [path.name for path in tmp_path.iterdir()] == ["door.json"]


def test_without_a_folder_nothing_is_kept() -> None:
    folder = StateFolder("")
    folder.prepare()
    assert folder.write("door", Record(1)) == ""
    assert folder.stream_file("door") == ""
    assert not folder.has_stream("door")


def test_a_folder_that_cannot_be_made_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MquansError, match="the folder for states"):
        StateFolder(str(tmp_path / "file" / "state")).prepare()


def test_a_stream_holds_for_once(tmp_path: Path) -> None:
    file = tmp_path / "door.stream"
    keep_state(str(file), b"state", 25)
    assert take_state(str(file)) == (b"state", 25)
    with pytest.raises(StateError):
        take_state(str(file))


@pytest.mark.parametrize("position", range(12))
def test_a_damaged_place_is_refused(tmp_path: Path, position: int) -> None:
    """Or a camera would wait for frames that its file does not have."""
    file = tmp_path / "door.stream"
    keep_state(str(file), b"state", 25)
    data = bytearray(file.read_bytes())
    data[position] ^= 1
    file.write_bytes(data)
    with pytest.raises(StateError, match="damaged"):
        take_state(str(file))
