"""If these break, folders of pictures are fed in the wrong order, or damaged ones unnoticed."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from mquans.errors import SourceError
from mquans.plan import InputFormat
from mquans.sources import open_source

av = pytest.importorskip("av")

FORMAT = InputFormat(name="x", width=16, height=12, layout="nhwc")


def write_image(path: Path, picture: npt.NDArray[np.uint8]) -> Path:
    codec, pixels = {
        ".png": ("png", "rgb24"), ".bmp": ("bmp", "bgr24"), ".jpg": ("mjpeg", "yuvj444p"),
        ".tiff": ("tiff", "rgb24"), ".ppm": ("ppm", "rgb24"),
    }[path.suffix]  # fmt: skip
    context = av.CodecContext.create(codec, "w")
    context.height, context.width = picture.shape[:2]
    context.pix_fmt = pixels
    context.time_base = Fraction(1)
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pixels)
    packets = context.encode(frame) or context.encode(None)
    path.write_bytes(bytes(packets[0]))
    return path


def flat(value: int) -> npt.NDArray[np.uint8]:
    return np.full((12, 16, 3), (value, 2 * value, 0), np.uint8)


def firsts(source: object) -> list[float]:
    return [float(frame[0, 0, 0, 0]) for frame in source]  # type: ignore[attr-defined]


def test_folder_is_read_in_natural_order_and_other_files_are_left_out(tmp_path: Path) -> None:
    for value in (10, 2, 1, 33):
        write_image(tmp_path / f"shot_{value}.png", flat(value))
    (tmp_path / "labels.csv").write_text("a")
    source = open_source(tmp_path, FORMAT)
    assert source.length == 4
    assert firsts(source) == [1, 2, 10, 33]


def test_glob_and_single_file_and_selection(tmp_path: Path) -> None:
    for value in range(6):
        write_image(tmp_path / f"a{value}.png", flat(value))
        write_image(tmp_path / f"b{value}.png", flat(100 + value))
    assert firsts(open_source(f"{tmp_path}/a*.png", FORMAT)) == [0, 1, 2, 3, 4, 5]
    assert firsts(open_source(f"{tmp_path}/*.png", FORMAT, skip=1, stride=3, frames=3)) == [
        1,
        4,
        101,
    ]
    assert firsts(open_source(f"{tmp_path}/b3.png", FORMAT)) == [103]
    (tmp_path / "deep" / "er").mkdir(parents=True)
    write_image(tmp_path / "deep" / "er" / "a9.png", flat(9))
    assert firsts(open_source(f"{tmp_path}/**/a9.png", FORMAT)) == [9]


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".ppm", ".jpg"])
def test_colours_survive_every_format(tmp_path: Path, suffix: str) -> None:
    picture = np.random.default_rng(2).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    picture = np.repeat(np.repeat(picture, 4, 0), 4, 1)
    frame = next(open_source(write_image(tmp_path / f"a{suffix}", picture), FORMAT))
    tolerance = 30 if suffix == ".jpg" else 0
    np.testing.assert_allclose(frame[0], picture, atol=tolerance)


def test_wrong_ending_does_not_matter(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", flat(7)).rename(tmp_path / "a.jpg")
    assert firsts(open_source(tmp_path, FORMAT)) == [7]


def test_names_are_never_patterns(tmp_path: Path) -> None:
    """FFmpeg would read %d as a counter and the brackets are a glob."""
    write_image(tmp_path / "shot%03d [1].png", flat(5))
    assert firsts(open_source(str(tmp_path / "shot%03d [1].png"), FORMAT)) == [5]


def test_pictures_of_different_size_and_kind_follow_each_other(tmp_path: Path) -> None:
    write_image(tmp_path / "1.png", flat(9))
    write_image(tmp_path / "2.jpg", np.repeat(flat(60), 3, axis=0))
    write_image(tmp_path / "3.png", np.repeat(flat(80), 2, axis=1))
    assert firsts(open_source(tmp_path, FORMAT)) == pytest.approx([9, 60, 80], abs=3)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"text",
        b"\x89PNG\r\n\x1a\n",
        b"\x89PNG\r\n\x1a\nrubbish" * 9,
        b"\xff\xd8\xff\xe0",
        b"BM" + bytes(60),
        b"RIFFxxxxWAVEfmt ",
    ],
)
def test_damaged_picture_is_named(tmp_path: Path, data: bytes) -> None:
    write_image(tmp_path / "1.png", flat(1))
    (tmp_path / "2.png").write_bytes(data)
    write_image(tmp_path / "3.png", flat(3))
    source = open_source(tmp_path, FORMAT)
    next(source)
    with pytest.raises(SourceError, match=r"2\.png: is"):
        next(source)


def test_truncated_pictures_are_refused_or_read_but_never_crash(tmp_path: Path) -> None:
    data = write_image(tmp_path / "a.png", flat(1)).read_bytes()
    for length in range(0, len(data), 5):
        (tmp_path / "a.png").write_bytes(data[:length])
        with contextlib.suppress(SourceError):
            assert next(open_source(tmp_path, FORMAT)).shape == (1, 12, 16, 3)


def test_empty_folder_and_pattern_without_match_are_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no pictures"):
        open_source(tmp_path, FORMAT)
    with pytest.raises(SourceError, match="no file matches"):
        open_source(f"{tmp_path}/*.png", FORMAT)


def test_real_driving_pictures(shared: Path) -> None:
    folder = shared / "data" / "driving" / "udacity_track" / "IMG"
    source = open_source(folder, InputFormat(name="x", width=200, height=66), frames=5)
    frames = np.concatenate(list(source))
    assert frames.shape == (5, 3, 66, 200)
    assert frames.std() > 20
