"""If these break, prepared data is fed in another shape, order or type than it was stored in."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mquans.errors import SourceError
from mquans.plan import InputFormat
from mquans.sources import FirstFrame, begins, open_source

FORMAT = InputFormat(name="x", width=8, height=6)
RNG = np.random.default_rng(1)


def test_npy_frames_come_in_order_with_a_batch_axis(tmp_path: Path) -> None:
    frames = RNG.standard_normal((7, 3, 6, 8)).astype(np.float32)
    np.save(tmp_path / "f.npy", frames)
    with open_source(tmp_path / "f.npy") as source:
        assert source.length == 7
        assert np.array_equal(np.concatenate(list(source)), frames)


def test_selection_reaches_only_the_selected_frames(tmp_path: Path) -> None:
    np.save(tmp_path / "f.npy", np.arange(20, dtype=np.float32)[:, None] + [0, 100])
    source = open_source(str(tmp_path / "f.npy"), frames=3, skip=2, stride=5)
    assert source.length == 3
    assert [list(frame[0]) for frame in source] == [[2, 102], [7, 107], [12, 112]]


def test_npz_with_one_array_may_use_any_name(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "f.npz", whatever=np.ones((2, 5), np.float32))
    assert [frame.shape for frame in open_source(tmp_path / "f.npz")] == [(1, 5), (1, 5)]


def test_npz_with_several_arrays_feeds_inputs_by_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "f.npz", audio=np.ones((2, 4), np.float32), gain=np.zeros((2, 1)))
    frames = list(open_source(tmp_path / "f.npz"))
    assert [{k: (v.shape, v.dtype.name) for k, v in frame.items()} for frame in frames] == [
        {"audio": ((1, 4), "float32"), "gain": ((1, 1), "float32")}
    ] * 2


@pytest.mark.parametrize(
    ("item", "shapes", "expected"),
    [
        ((3, 6, 8), None, (1, 3, 6, 8)),
        ((1, 3, 6, 8), None, (1, 3, 6, 8)),
        ((1, 6, 8), {"x": (1, 1, 6, 8)}, (1, 1, 6, 8)),
        ((2, 6, 8), {"x": (2, 6, 8)}, (2, 6, 8)),
        ((40,), {"x": (1, 40)}, (1, 40)),
    ],
)
def test_batch_axis_is_added_where_it_is_missing(
    item: tuple[int, ...], shapes: dict[str, tuple[int, ...]] | None, expected: tuple[int, ...]
) -> None:
    frame = next(open_source([np.zeros(item, np.float32)], input_shapes=shapes))
    assert frame.shape == expected


def test_with_a_picture_format_a_gray_tensor_gets_its_batch_axis() -> None:
    frame = next(open_source([np.zeros((1, 6, 8), np.float32)], FORMAT))
    assert frame.shape == (1, 1, 6, 8)


def test_iterables_may_say_where_a_recording_begins() -> None:
    """Else states run from one recording into the next when sound is prepared elsewhere."""
    frame = {"x": np.ones((1, 3), np.float32)}
    frames = list(open_source([FirstFrame(frame), frame, FirstFrame(frame)]))
    assert [begins(frame) for frame in frames] == [True, False, True]
    assert all(np.array_equal(found["x"], frame["x"]) for found in frames)


def test_iterables_mix_pictures_and_ready_tensors() -> None:
    ready = RNG.standard_normal((1, 3, 6, 8)).astype(np.float32)
    picture = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    frames = list(open_source(iter([ready, picture, picture[..., 0], ready[0]]), FORMAT))
    assert all(frame.shape == (1, 3, 6, 8) for frame in frames)
    assert frames[0] is ready or np.shares_memory(frames[0], ready)
    assert np.array_equal(frames[1][0], picture.transpose(2, 0, 1))
    assert np.array_equal(frames[3], ready)


def test_pictures_pairs_each_picture_with_its_tensor() -> None:
    picture = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    pairs = list(open_source([picture, picture[..., 0]], FORMAT).pictures())
    assert np.array_equal(pairs[0][0], picture)
    assert pairs[1][0].shape == (6, 8, 3)
    assert all(tensor.shape == (1, 3, 6, 8) for _, tensor in pairs)


def test_ready_tensors_cannot_be_drawn() -> None:
    with pytest.raises(SourceError, match="holds ready tensors"):
        next(open_source([np.zeros((3, 6, 8), np.float32)], FORMAT).pictures())


def test_infinite_iterators_are_read_one_frame_at_a_time() -> None:
    def camera() -> Any:
        while True:
            yield np.zeros((3, 6, 8), np.float32)

    source = open_source(camera(), frames=2)
    assert source.length is None
    assert len(list(source)) == 2


def test_nan_frames_pass_here_since_the_stream_refuses_them() -> None:
    frame = next(open_source([np.array([[np.nan, 1e300]])]))
    assert np.isnan(frame[0, 0])
    assert np.isinf(frame[0, 1])


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (np.zeros((3, 4), complex), r"must be numbers .* not complex128 \[3, 4\]"),
        (np.array(["a"]), "not <U1"),
        (np.array([None]), "not object"),
        (np.zeros((6, 8, 4), np.uint8), "a picture must be"),
        ("text", "not <U4"),
        (None, "not object"),
    ],
)
def test_frames_of_wrong_type_are_refused(item: Any, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        next(open_source([item], FORMAT))


@pytest.mark.parametrize(
    ("item", "shape", "expected"),
    [
        (np.zeros((3, 4), np.int64), (1, 3, 4), (1, 3, 4)),
        (np.zeros((1, 4), bool), (1, 4), (1, 4)),
        (np.zeros((1, 4), np.uint8), (1, 4), (1, 4)),
        (np.zeros((1, 2, 6, 3), np.uint8), (1, 2, 6, 3), (1, 2, 6, 3)),
    ],
)
def test_ready_tensors_keep_their_integers(
    item: np.ndarray, shape: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    """Bytes in the shape of a tensor are no picture: whoever takes them knows what they stand
    for."""
    frame = next(open_source([item], input_shapes={"x": shape}))
    assert (frame.dtype, frame.shape) == (item.dtype, expected)


def test_pictures_without_a_format_are_refused_with_a_way_out() -> None:
    with pytest.raises(SourceError, match="Give an input format"):
        next(open_source([np.zeros((6, 8, 3), np.uint8)]))


@pytest.mark.parametrize("empty", [[], iter(()), np.zeros((0, 3), np.float32)])
def test_source_without_frames_says_so(empty: Any) -> None:
    with pytest.raises(SourceError, match="gave no frame"):
        next(open_source(empty))


def test_closed_source_just_ends() -> None:
    source = open_source([np.zeros((3, 4), np.float32)] * 3)
    next(source)
    source.close()
    assert list(source) == []


def save_object(path: Path) -> None:
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)


def cut(path: Path) -> None:
    np.save(path, np.zeros((10, 10), np.float32))
    path.write_bytes(path.read_bytes()[:-100])


def gigantic_header(path: Path) -> None:
    np.save(path, np.zeros((10, 10), np.float32))
    data = path.read_bytes()
    path.write_bytes(data.replace(b"(10, 10), }      ", b"(10, 99999999), }"))


@pytest.mark.parametrize(
    "make", [save_object, cut, gigantic_header, lambda p: p.write_bytes(b""),
             lambda p: p.write_bytes(b"\x93NUMPY"), lambda p: p.write_bytes(b"text"),
             lambda p: np.save(p, np.float32(1)), lambda p: p.mkdir()],
)  # fmt: skip
def test_damaged_or_hostile_npy_is_refused(tmp_path: Path, make: Any) -> None:
    """Python objects above all: unpickling them would run code of whoever made the file."""
    path = tmp_path / "f.npy"
    make(path)
    with pytest.raises(SourceError, match=r"f\.npy|holds no pictures"):
        next(open_source(path))


def test_damaged_npz_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "f.npz"
    np.savez(path, a=np.zeros((50, 50), np.float32))
    good = path.read_bytes()
    damaged = bytearray(good)
    damaged[5000] ^= 255
    for data in (good[:500], good[:-30], bytes(damaged)):
        path.write_bytes(data)
        with pytest.raises(SourceError, match=r"f\.npz"):
            next(open_source(path))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPYnonsense")
    with pytest.raises(SourceError, match=r"f\.npz"):
        next(open_source(path))


def test_npz_arrays_of_different_length_or_none_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "f.npz"
    np.savez(path, a=np.zeros((2, 1)), b=np.zeros((3, 1)))
    with pytest.raises(SourceError, match="different numbers of frames"):
        open_source(path)
    np.savez(path)
    with pytest.raises(SourceError, match="no array"):
        open_source(path)


def test_arrays_by_name_can_be_given_directly() -> None:
    arrays: dict[str, npt.NDArray[Any]] = {"a": np.zeros((3, 2)), "b": np.ones((3, 4))}
    assert [sorted(frame) for frame in open_source(arrays)] == [["a", "b"]] * 3


@pytest.mark.parametrize("channels", [3, 4])
def test_one_picture_is_no_sequence(channels: int) -> None:
    """Its rows would be taken for gray pictures of three pixels width."""
    picture = np.zeros((32, 48, channels), np.uint8)
    with pytest.raises(SourceError, match="is one picture of 48x32"):
        open_source(picture)
    frames = open_source(picture[np.newaxis, ..., :3], InputFormat(name="x", width=4, height=4))
    assert len(list(frames)) == 1
