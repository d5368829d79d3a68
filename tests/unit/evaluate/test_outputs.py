"""The .npz file of `mquans run`: complete or absent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mquans.errors import MquansError
from mquans.evaluate import NpzWriter


def outputs(value: float) -> dict[str, np.ndarray]:
    return {
        "a/b": np.full((1, 2, 3), value, np.float32),
        "flat": np.full(4, value, np.float32),
    }


def test_arrays_have_frames_first(tmp_path: Path) -> None:
    """As the .npz sources are read: what one run writes another can take."""
    path = tmp_path / "out.npz"
    with NpzWriter(path) as file:
        for value in range(3):
            file.add(outputs(value))
    with np.load(path) as found:
        assert {name: found[name].shape for name in found} == {"a/b": (3, 2, 3), "flat": (3, 4)}
        np.testing.assert_array_equal(found["a/b"][:, 0, 0], [0, 1, 2])
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError])
def test_stopped_run_leaves_nothing_and_keeps_the_old_file(
    tmp_path: Path, stop: type[BaseException]
) -> None:
    """Half a file would be taken for a whole one."""
    path = tmp_path / "out.npz"
    path.write_bytes(b"old")

    def interrupted() -> None:
        with NpzWriter(path) as file:
            file.add(outputs(1))
            raise stop

    with pytest.raises(stop):
        interrupted()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_folder_that_does_not_exist_is_found_before_the_run(tmp_path: Path) -> None:
    """Not after an hour of frames."""
    with pytest.raises(MquansError, match="no such file or folder"):
        NpzWriter(tmp_path / "none" / "out.npz").__enter__()


def test_other_endings_are_refused(tmp_path: Path) -> None:
    """np.load goes by content, but people go by the name."""
    with pytest.raises(MquansError, match=r"ends in \.npz"):
        NpzWriter(tmp_path / "out.npy")


def test_run_without_frames_writes_an_empty_archive(tmp_path: Path) -> None:
    """It still is an archive that can be opened."""
    with NpzWriter(tmp_path / "out.npz"):
        pass
    with np.load(tmp_path / "out.npz") as found:
        assert list(found) == []
