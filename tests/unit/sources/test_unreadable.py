"""If these break, one damaged file ends a night's run, or is left out without a word."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mquans.errors import MquansError, SourceError
from mquans.plan import AudioFormat, InputFormat
from mquans.sources import SourceWarning, begins, open_source

from ...clips import Picture, write_clip

FORMAT = InputFormat(name="x", width=48, height=32, layout="nhwc")


@pytest.fixture
def pictures_of_a_day(tmp_path: Path, pictures: list[Picture]) -> Path:
    """Six pictures, of which 2 and 4 cannot be read."""
    for number in range(6):
        write_clip(tmp_path / f"{number}.png", pictures[number : number + 1], codec="png",
                   pixels="rgb24")  # fmt: skip
    whole = (tmp_path / "2.png").read_bytes()
    (tmp_path / "2.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "4.png").write_bytes(b"")
    return tmp_path


def marks(source: Any) -> list[int]:
    return [int(frame[0, 0, 0, 0]) for frame in source]


def test_a_picture_that_cannot_be_read_ends_the_run_by_default(pictures_of_a_day: Path) -> None:
    source = open_source(pictures_of_a_day, FORMAT)
    assert (int(next(source)[0, 0, 0, 0]), int(next(source)[0, 0, 0, 0])) == (0, 1)
    with pytest.raises(SourceError, match=r"2\.png: is a damaged picture"):
        next(source)


def test_pictures_left_out_are_counted_and_told_of(pictures_of_a_day: Path) -> None:
    source = open_source(pictures_of_a_day, FORMAT, on_error="skip")
    with pytest.warns(SourceWarning, match=r"2 of 6 files .* left out, the first: .*2\.png: is a"):
        assert marks(source) == [0, 1, 3, 5]
    assert source.skipped == 2


def test_selection_goes_by_the_place_in_the_folder(pictures_of_a_day: Path) -> None:
    source = open_source(pictures_of_a_day, FORMAT, on_error="skip", skip=1, frames=3)
    with pytest.warns(SourceWarning, match="1 of 3 files"):
        assert marks(source) == [1, 3]


def test_nothing_is_said_where_all_can_be_read(folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source = open_source(folder, FORMAT, on_error="skip")
        assert len(list(source)) == 20
    assert source.skipped == 0


def test_folder_of_which_nothing_can_be_read_is_an_error(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"\xff\xd8\xff\xe0")
    with (
        pytest.warns(SourceWarning, match="2 of 2 files"),
        pytest.raises(SourceError, match="gave no frame"),
    ):
        list(open_source(tmp_path, FORMAT, on_error="skip"))


def test_videos_that_cannot_be_opened_are_left_out(
    tmp_path: Path, clip_writer: Callable[[Path, int], None]
) -> None:
    for name, count in (("a.mkv", 3), ("c.mkv", 2)):
        clip_writer(tmp_path / name, count)
    (tmp_path / "b.mkv").write_bytes(b"no video")
    with pytest.raises(SourceError, match=r"b\.mkv: cannot be opened"):
        open_source(tmp_path, FORMAT)
    source = open_source(tmp_path, FORMAT, on_error="skip")
    assert source.length == 5
    with pytest.warns(SourceWarning, match="1 of 3 files"):
        assert [begins(frame) for frame in source] == [True, False, False, True, False]


def test_sound_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    """Also one that breaks in the middle: what comes behind it is a recording of its own."""
    soundfile = pytest.importorskip("soundfile")
    sound = np.linspace(-0.5, 0.5, 1600, dtype=np.float32)
    soundfile.write(tmp_path / "a.wav", sound, 16000, subtype="FLOAT")
    (tmp_path / "b.wav").write_bytes(b"RIFF no sound")
    broken = sound.copy()
    broken[20] = np.nan
    soundfile.write(tmp_path / "c.wav", broken, 16000, subtype="FLOAT")
    soundfile.write(tmp_path / "d.wav", sound, 16000, subtype="FLOAT")
    format = AudioFormat(
        name="x", shape=(1, 160), rate=16000, features="samples", window=160, hop=160
    )
    with pytest.raises(SourceError, match=r"b\.wav: is not sound"):
        open_source(tmp_path, format)
    source = open_source(tmp_path, format, on_error="skip")
    with pytest.warns(SourceWarning, match="2 of 4 files"):
        frames = list(source)
    assert [index for index, frame in enumerate(frames) if begins(frame)] == [0, 10]


def test_unknown_way_is_refused(folder: Path) -> None:
    with pytest.raises(SourceError, match=r"no way 'ignore'.*stop, skip"):
        open_source(folder, FORMAT, on_error="ignore")  # type: ignore[arg-type]


def test_labels_by_frame_number_exclude_leaving_frames_out(folder: Path) -> None:
    """Behind a frame that was left out, every label would belong to the wrong one."""
    from mquans import calibrate

    with pytest.raises(MquansError, match="labels are by the number of a frame"):
        calibrate("m.onnx", folder, labels=[0] * 20, on_error="skip")
