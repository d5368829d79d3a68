"""If these break, a network that sees movement is shown other pictures than those that follow each
other, or watching for hours fills the memory."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from mquans.errors import SourceError
from mquans.plan import InputFormat
from mquans.sources import begins, open_source
from mquans.sources.live import LiveReader
from mquans.sources.selection import Selection
from mquans.sources.windows import WindowReader

pytest.importorskip("av")

Picture = npt.NDArray[np.uint8]


def windows_of(window: int, hop: int = 1, layout: str = "nthwc") -> InputFormat:
    return InputFormat(name="x", width=48, height=32, layout=layout, window=window, hop=hop)


@pytest.mark.parametrize(("window", "hop"), [(1, 1), (1, 3), (4, 1), (4, 3), (3, 5), (20, 1)])
@pytest.mark.parametrize("kind", ["video", "folder", "array", "iterable"])
def test_windows_hold_the_pictures_that_follow_each_other(
    clip: Path, pictures: list[Picture], folder: Path, kind: str, window: int, hop: int
) -> None:
    spec = {"video": clip, "folder": folder, "array": np.stack(pictures)}.get(kind, iter(pictures))
    source = open_source(spec, windows_of(window, hop))
    expected = [np.stack(pictures[begin : begin + window]) for begin in range(0, 21 - window, hop)]
    assert source.length == (None if kind == "iterable" else len(expected))
    found = list(source)
    assert len(found) == len(expected)
    for tensor, stacked in zip(found, expected, strict=True):
        assert tensor.shape == (1, *stacked.shape)
        assert tensor.dtype == np.float32
        np.testing.assert_array_equal(tensor[0], stacked)


@pytest.mark.parametrize("layout", ["ncthw", "ntchw", "nthwc"])
def test_axes_lie_as_the_layout_says(clip: Path, pictures: list[Picture], layout: str) -> None:
    (tensor,) = open_source(clip, windows_of(20, layout=layout))
    assert tensor.flags.c_contiguous
    order = ["thwc".index(axis) for axis in layout[1:]]
    np.testing.assert_array_equal(tensor[0], np.stack(pictures).transpose(order))


def test_selection_counts_windows(clip: Path) -> None:
    source = open_source(clip, windows_of(4, 2), skip=1, stride=3, frames=2)
    assert source.length == 2
    # The first channel of the first pixel is the picture's number.
    assert [frame[0, :, 0, 0, 0].tolist() for frame in source] == [[2, 3, 4, 5], [8, 9, 10, 11]]


def test_windows_do_not_share_memory(clip: Path) -> None:
    """Calibration keeps windows in a list, and whoever gets one may change it."""
    source = open_source(clip, windows_of(4))
    first = next(source)
    first[...] = -1
    assert next(source)[0, :, 0, 0, 0].tolist() == [1, 2, 3, 4]


def test_an_iterable_may_fill_the_same_array_again(pictures: list[Picture]) -> None:
    """As cv2.VideoCapture.read does when it is given one."""

    def camera() -> Iterator[Picture]:
        held = np.empty_like(pictures[0])
        for picture in pictures:
            held[...] = picture
            yield held

    first = next(open_source(camera(), windows_of(3)))
    assert first[0, :, 0, 0, 0].tolist() == [0, 1, 2]


def test_memory_does_not_grow_with_the_stream() -> None:
    picture = np.zeros((32, 48, 3), np.uint8)
    source = open_source((picture.copy() for _ in range(2000)), windows_of(8))
    for _ in range(20):
        next(source)
    tracemalloc.start()
    for _ in source:
        pass
    assert tracemalloc.get_traced_memory()[1] < 20 * 8 * picture.nbytes * 4
    tracemalloc.stop()


def test_every_picture_is_prepared_once(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows overlap: 17 windows of 4 pictures hold 68, but there are only 20."""
    from mquans.sources.preparation import Preparation

    prepared = []
    original = Preparation.frame
    monkeypatch.setattr(
        Preparation, "frame", lambda self, item: prepared.append(0) or original(self, item)
    )
    assert len(list(open_source(clip, windows_of(4)))) == 17
    assert len(prepared) == 20


def test_clip_shorter_than_a_window_is_named(clip: Path) -> None:
    with pytest.raises(SourceError, match=r"clip \[1\].mkv: holds 20 pictures, fewer than .* 21"):
        list(open_source(clip, windows_of(21)))


def test_ready_windows_pass_through(clip: Path) -> None:
    ready = list(open_source(clip, windows_of(4)))
    for spec in (ready, np.stack(ready)):
        source = open_source(spec, windows_of(4), skip=2)
        found = list(source)
        assert source.length in (None, 15)
        assert np.array_equal(np.stack(found), np.stack(ready[2:]))
    named = list(open_source([{"x": window} for window in ready], windows_of(4)))
    assert np.array_equal(named[3]["x"], ready[3])


@pytest.mark.parametrize("as_glob", [False, True])
@pytest.mark.parametrize("window", [1, 4])
def test_every_clip_of_several_begins_anew(
    clip: Path, tmp_path: Path, window: int, as_glob: bool
) -> None:
    """No window holds the end of one clip and the beginning of the next."""
    for name in ("2.mkv", "10.mkv", "1.mkv"):
        (tmp_path / name).write_bytes(clip.read_bytes())
    format = windows_of(window, layout="nthwc" if window > 1 else "nhwc")
    source = open_source(f"{tmp_path}/*.mkv" if as_glob else tmp_path, format)
    each = 21 - window
    assert source.length == 3 * each
    frames = list(source)
    assert [index for index, frame in enumerate(frames) if begins(frame)] == [0, each, 2 * each]
    numbers = [frame["x"].reshape(-1, 32, 48, 3)[:, 0, 0, 0].tolist() for frame in frames]
    assert numbers == 3 * [list(range(begin, begin + window)) for begin in range(each)]


def test_a_clip_also_begins_where_its_first_frames_are_left_out(clip: Path, tmp_path: Path) -> None:
    for name in ("a.mkv", "b.mkv"):
        (tmp_path / name).write_bytes(clip.read_bytes())
    frames = list(open_source(tmp_path, windows_of(4), skip=5, stride=8))
    assert [begins(frame) for frame in frames] == [True, False, True, False]


def test_short_clip_among_several_is_named(
    clip: Path, tmp_path: Path, clip_writer: Callable[[Path, int], None]
) -> None:
    (tmp_path / "a.mkv").write_bytes(clip.read_bytes())
    clip_writer(tmp_path / "b.mkv", 3)
    with pytest.raises(SourceError, match=r"b\.mkv: holds 3 pictures, fewer than a window of 4"):
        list(open_source(tmp_path, windows_of(4)))


def test_pictures_beside_windows_are_the_newest(clip: Path, pictures: list[Picture]) -> None:
    pairs = list(open_source(clip, windows_of(4)).pictures())
    assert len(pairs) == 17
    for index, (picture, tensor) in enumerate(pairs):
        assert np.array_equal(picture, pictures[index + 3])
        assert np.array_equal(tensor[0, -1], picture)


class Camera:
    """Pictures at the speed of a camera."""

    name, total = "camera", None

    def frames(self, selection: Selection) -> Iterator[Picture]:
        for number in range(60):
            time.sleep(0.001)
            yield np.full((2, 2, 3), number, np.uint8)

    def close(self) -> None: ...


def test_windows_of_a_camera_hold_every_picture_of_their_time() -> None:
    """Pictures left out within a window would look like faster movement; whole windows may be."""
    reader = LiveReader(WindowReader(Camera(), 5, 1), timeout_s=5)
    taken = []
    for window in reader.frames(Selection()):
        taken.append([int(picture[0, 0, 0]) for picture in window])
        time.sleep(0.01)
    reader.close()
    assert all(numbers == list(range(numbers[0], numbers[0] + 5)) for numbers in taken)
    assert taken[-1][-1] == 59
    assert len(taken) < 56
