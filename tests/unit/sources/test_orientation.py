"""If these break, what phones, front cameras and scanners recorded is fed lying or mirrored."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageOps

from mquans.plan import InputFormat
from mquans.sources import open_source
from mquans.sources.orientation import upright

from ...clips import write_clip

Picture = npt.NDArray[np.uint8]

ORIENTATION = 0x0112
# As in EXIF, which numbers what the first row and column are: 3 is turned by half, 5 transposed.
MATRICES = {
    1: (1, 0, 0, 1),
    2: (-1, 0, 0, 1),
    3: (-1, 0, 0, -1),
    4: (1, 0, 0, -1),
    5: (0, 1, 1, 0),
    6: (0, 1, -1, 0),
    7: (0, -1, -1, 0),
    8: (0, -1, 1, 0),
}


@pytest.fixture
def scene() -> Picture:
    """Four different quarters: no turn and no mirroring leaves it as it is."""
    picture = np.zeros((32, 48, 3), np.uint8)
    picture[:16, :24] = [255, 0, 0]
    picture[:16, 24:] = [0, 255, 0]
    picture[16:, :24] = [0, 0, 255]
    picture[16:, 24:] = [200, 200, 50]
    return picture


def exif(orientation: int) -> Image.Exif:
    data = Image.Exif()
    data[ORIENTATION] = orientation
    return data


def transposed(stored: Picture, orientation: int) -> Picture:
    """What Pillow, which many networks were trained with, makes of it."""
    image = Image.fromarray(stored)
    image.getexif()[ORIENTATION] = orientation
    return np.asarray(ImageOps.exif_transpose(image))


def first(path: Path, wanted: Picture) -> Picture:
    """The file's first frame, at the size that it must have: nothing is resized."""
    height, width = wanted.shape[:2]
    format = InputFormat(name="x", width=width, height=height, layout="nhwc")
    with open_source(path, format) as source:
        return next(source)[0].astype(np.uint8)


@pytest.mark.parametrize("orientation", MATRICES)
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff"])
def test_pictures_are_upright_for_every_exif_value(
    tmp_path: Path, scene: Picture, suffix: str, orientation: int
) -> None:
    path = tmp_path / f"a.{suffix}"
    options = {"quality": 95} if suffix == "jpg" else {"lossless": True} if suffix == "webp" else {}
    Image.fromarray(scene).save(path, exif=exif(orientation), **options)
    wanted = transposed(scene, orientation)
    difference = np.abs(first(path, wanted).astype(int) - wanted)
    assert difference.mean() < 6  # of chroma that JPEG shares between neighbours


@pytest.mark.parametrize("mode", ["L", "P", "CMYK"])
def test_gray_and_other_colours_are_mirrored_too(tmp_path: Path, scene: Picture, mode: str) -> None:
    image = Image.fromarray(scene).convert(mode)
    image.save(tmp_path / "a.tiff", exif=exif(7))
    wanted = transposed(np.asarray(image.convert("RGB")), 7)
    np.testing.assert_array_equal(first(tmp_path / "a.tiff", wanted), wanted)


def test_unknown_or_damaged_exif_data_leave_pictures_as_they_are(
    tmp_path: Path, scene: Picture
) -> None:
    for value in (0, 9, 77):
        Image.fromarray(scene).save(tmp_path / "a.png", exif=exif(value))
        np.testing.assert_array_equal(first(tmp_path / "a.png", scene), scene)
    Image.fromarray(scene).save(tmp_path / "a.png", exif=b"Exif\0\0MM\0*rubbish")
    np.testing.assert_array_equal(first(tmp_path / "a.png", scene), scene)


@pytest.mark.parametrize("orientation", MATRICES)
def test_videos_are_upright_for_every_display_matrix(
    tmp_path: Path, scene: Picture, orientation: int
) -> None:
    """Pictures and shown tensors; a matrix also holds a shift, which does not matter here."""
    path = write_clip(tmp_path / "a.mp4", [scene] * 2, codec="mpeg4", pixels="yuv420p")
    stored = first(path, scene)
    data = bytearray(path.read_bytes())
    a, b, c, d = MATRICES[orientation]
    place = data.find(b"tkhd") + 8 + 20 + 16
    values = (a << 16, b << 16, 0, c << 16, d << 16, 0, 48 << 16, 32 << 16, 1 << 30)
    data[place : place + 36] = struct.pack(">9i", *values)
    path.write_bytes(data)
    wanted = transposed(stored, orientation)
    assert np.abs(first(path, wanted).astype(int) - wanted).mean() < 4
    format = InputFormat(name="x", width=8, height=8)
    picture, _ = next(open_source(path, format).pictures())
    assert np.abs(picture.astype(int) - wanted).mean() < 4


def test_arrays_are_turned_as_pillow_turns_them(scene: Picture) -> None:
    for orientation, matrix in MATRICES.items():
        np.testing.assert_array_equal(upright(scene, matrix), transposed(scene, orientation))
