"""The .npz file of `mquans run`: complete or absent."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from mquans.errors import MquansError, SourceError
from mquans.evaluate import NpzWriter
from mquans.sources import open_source


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


def test_whole_frames_before_an_error_are_kept_where_they_cannot_be_computed_again(
    tmp_path: Path,
) -> None:
    """A camera that is gone. Of a frame that was only begun, nothing is left."""
    path = tmp_path / "out.npz"

    def camera_breaks_off(error: Exception) -> None:
        with NpzWriter(path) as file:
            file.keep = True
            for value in range(3):
                file.add(outputs(value))
            file.add({"a/b": outputs(9)["a/b"]})
            raise error

    with (
        pytest.warns(UserWarning, match=r"out\.npz holds the 3 frames before"),
        pytest.raises(SourceError),
    ):
        camera_breaks_off(SourceError("the stream ended."))
    with np.load(path) as found:
        assert {name: found[name].shape for name in found} == {"a/b": (3, 2, 3), "flat": (3, 4)}
        np.testing.assert_array_equal(found["flat"][:, 0], [0, 1, 2])
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_kept_where_there_was_no_frame(tmp_path: Path) -> None:
    def never_answers() -> None:
        with NpzWriter(tmp_path / "out.npz") as file:
            file.keep = True
            raise SourceError("gave no frame.")

    with pytest.raises(SourceError):
        never_answers()
    assert list(tmp_path.iterdir()) == []


def test_folder_that_does_not_exist_is_found_before_the_run(tmp_path: Path) -> None:
    """Not after an hour of frames."""
    with pytest.raises(MquansError, match="no such file or folder"):
        NpzWriter(tmp_path / "none" / "out.npz").__enter__()


def test_other_endings_are_refused(tmp_path: Path) -> None:
    """np.load goes by content, but people go by the name."""
    with pytest.raises(MquansError, match=r"ends in \.npz"):
        NpzWriter(tmp_path / "out.npy")


def test_pipes_are_not_replaced_by_a_file(tmp_path: Path) -> None:
    pipe = tmp_path / "out.npz"
    os.mkfifo(pipe)
    with pytest.raises(MquansError, match="folder, pipe or device"):
        NpzWriter(pipe)
    assert pipe.is_fifo()


def test_run_without_frames_writes_an_empty_archive(tmp_path: Path) -> None:
    """It still is an archive that can be opened."""
    with NpzWriter(tmp_path / "out.npz"):
        pass
    with np.load(tmp_path / "out.npz") as found:
        assert list(found) == []


def test_types_are_those_of_the_network(tmp_path: Path) -> None:
    """Classes as int64 and masks as bool; labelled float32 they would be garbage."""
    path = tmp_path / "out.npz"
    classes = [np.arange(6).reshape(1, 2, 3) + index for index in range(4)]
    with NpzWriter(path) as file:
        for each in classes:
            file.add({"class": each, "mask": each > 4, "half": each.astype(np.float16)})
    with np.load(path) as found:
        assert {name: found[name].dtype.name for name in found} == {
            "class": "int64", "mask": "bool", "half": "float16",
        }  # fmt: skip
        np.testing.assert_array_equal(found["class"], np.concatenate(classes))
        np.testing.assert_array_equal(found["mask"], np.concatenate(classes) > 4)


def test_times_of_frames_stand_beside_outputs(tmp_path: Path) -> None:
    """Only where some are known; frames without have NaN. They do not get in the way of a network
    that takes the outputs as its frames."""
    path = tmp_path / "out.npz"
    for times, wanted in (([0.5, None, 0.75], [0.5, np.nan, 0.75]), ([None, None, None], None)):
        with NpzWriter(path) as file:
            for value, time_s in enumerate(times):
                file.add({"y": np.full((1, 2), value, np.float32)}, time_s)
        with np.load(path) as found:
            assert ("frame.time_s" in found) == (wanted is not None)
            if wanted is not None:
                assert found["frame.time_s"].dtype == np.float64
                np.testing.assert_array_equal(found["frame.time_s"], wanted)
        with open_source(path) as source:
            assert [frame[0, 0] for frame in source] == [0, 1, 2]


def test_kept_frames_have_their_times(tmp_path: Path) -> None:
    """And no more than there are frames."""
    path = tmp_path / "out.npz"

    def camera_breaks_off() -> None:
        with NpzWriter(path) as file:
            file.keep = True
            file.add({"a": np.zeros(2, np.float32), "b": np.zeros(2, np.float32)}, 7.0)
            file.add({"a": np.zeros(2, np.float32), "b": np.zeros(1, object)}, 8.0)

    with pytest.warns(UserWarning, match="holds the 1 frames"), pytest.raises(MquansError):
        camera_breaks_off()
    with np.load(path) as found:
        assert found["frame.time_s"].tolist() == [7.0]
        assert found["a"].shape == (1, 2)


def test_frames_of_different_shapes_keep_their_own_rows(tmp_path: Path) -> None:
    """A detector with its own suppression finds another number of boxes in every frame."""
    path = tmp_path / "out.npz"
    boxes = [np.full((1, count, 4), count, np.float32) for count in (2, 0, 3, 1)]
    found = [np.arange(2 * count).reshape(count, 2) for count in (1, 4, 0, 2)]
    maps = [np.full((1, rows, 5 - rows), rows, np.float32) for rows in (1, 2, 3, 2)]
    with NpzWriter(path) as file:
        for each in zip(boxes, found, maps, strict=True):
            file.add(dict(zip(("boxes", "index", "map"), each, strict=True)))
    with np.load(path) as stored:
        assert stored["boxes"].shape == (6, 4)
        for index in range(4):
            for name, wanted in (("boxes", boxes[index][0]), ("index", found[index])):
                start, stop = stored[f"{name}.offsets"][index : index + 2]
                np.testing.assert_array_equal(stored[name][start:stop], wanted)
            start, stop = stored["map.offsets"][index : index + 2]
            shape = stored["map.shapes"][index]
            np.testing.assert_array_equal(stored["map"][start:stop].reshape(shape), maps[index][0])


@pytest.mark.parametrize(
    ("later", "said"),
    [
        (np.zeros((1, 2), np.float64), "float32 of 2 axes to float64"),
        (np.zeros((1, 2, 1), np.float32), "to float32 of 3"),
        (np.array([["a", "b"]], object), "strings"),
    ],
)
def test_what_no_array_can_hold_is_said(tmp_path: Path, later: np.ndarray, said: str) -> None:
    """And nothing half is left behind."""

    def written() -> None:
        with NpzWriter(tmp_path / "out.npz") as file:
            file.add({"y": np.zeros((1, 2), np.float32)})
            file.add({"y": later})

    with pytest.raises(MquansError, match=said):
        written()
    assert list(tmp_path.iterdir()) == []
