"""If these break, a crash or a full disk costs a user the file that was there before."""

from __future__ import annotations

import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mquans.errors import MquansError, PlanError, StateError
from mquans.files import atomic_write, printable, read_limited, require_writable


@contextmanager
def file_size_limit(limit_bytes: int) -> Iterator[None]:
    """Writing more than this to one file fails, as it does when a disk or quota is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_writes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a"
    atomic_write(path, b"one")
    atomic_write(path, b"two")
    assert path.read_bytes() == b"two"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_failure_in_the_middle_keeps_the_old_file_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with file_size_limit(1000), pytest.raises(PlanError, match="cannot be written"):
        atomic_write(path, bytes(100_000), error=PlanError)
    assert path.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_ctrl_c_in_the_middle_keeps_the_old_file_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        atomic_write(path, b"new")
    assert path.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_full_device_is_named_and_survives() -> None:
    """/dev/full answers every write with 'no space left'; it must not be replaced by a file."""
    with pytest.raises(StateError, match="the disk is full"):
        atomic_write("/dev/full", b"x", error=StateError)
    assert Path("/dev/full").is_char_device()


def test_null_device_is_written_to_not_replaced() -> None:
    atomic_write("/dev/null", b"x")
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize(
    ("path", "message"),
    [("missing/a", "no such file or folder"), (".", "is a folder"), ("a\0b", "null"),
     ("n" * 300, "too long")],
)  # fmt: skip
def test_impossible_paths_give_a_reason(tmp_path: Path, path: str, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        atomic_write(f"{tmp_path}/{path}", b"x", error=PlanError)
    with pytest.raises(MquansError, match=message):  # and before work as behind it
        require_writable(None, tmp_path / "good", f"{tmp_path}/{path}")
    assert list(tmp_path.iterdir()) == []


def test_asking_leaves_files_and_devices_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"old")
    require_writable(tmp_path / "old", "/dev/stdout", "/dev/null")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


def test_links_and_permissions_are_kept(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"old")
    target.chmod(0o640)
    link.symlink_to(target)
    atomic_write(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_new_files_follow_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        atomic_write(tmp_path / "a", b"x")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_reading_stops_at_the_limit_even_on_endless_devices() -> None:
    with pytest.raises(StateError, match="longer than the 1000 bytes"):
        read_limited("/dev/zero", 1000, error=StateError)


def test_reading_says_why_it_failed(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="no such file"):
        read_limited(tmp_path / "a", 10, error=PlanError)
    with pytest.raises(PlanError, match="is a folder"):
        read_limited(tmp_path, 10, error=PlanError)


def test_control_characters_cannot_reach_the_terminal() -> None:
    assert printable("a\x1b[31m\nb\x85é\u202e") == "a\\x1b[31m\\nb\\x85é\\u202e"
    assert printable("x" * 1000, 10) == "xxxxxxx..."


@pytest.mark.parametrize("name", ["clip.npy", "./clip.npy", "link.npy", "hard.npy"])
@pytest.mark.parametrize("read", ["clip.npy", "*.npy"])
def test_nothing_that_is_read_is_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, read: str
) -> None:
    """A recording that a mistyped -o replaced by a plan would be gone."""
    monkeypatch.chdir(tmp_path)
    Path("clip.npy").write_bytes(b"frames")
    Path("link.npy").symlink_to("clip.npy")
    Path("hard.npy").hardlink_to("clip.npy")
    with pytest.raises(MquansError, match="would be overwritten"):
        require_writable("plan.json", name, read=["rtsp://camera/1", "0", "", read])
    require_writable("other.npy", "/dev/null", "/dev/null", read=["gone.npy", "rtsp://camera/1"])


def test_two_results_need_two_names(tmp_path: Path) -> None:
    with pytest.raises(MquansError, match="two results"):
        require_writable(tmp_path / "a", f"{tmp_path}/./a")
