"""If these break, folders of pictures are fed in the wrong order, or damaged ones unnoticed."""

from __future__ import annotations

import contextlib
import gc
import struct
import zlib
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms

from mquans.errors import SourceError
from mquans.plan import InputFormat
from mquans.sources import SourceWarning, open_source

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


def jpeg(**options: Any) -> bytes:
    """Noise as a JPEG file, in which every byte matters."""
    noise = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    return encoded(Image.fromarray(noise), "jpeg", quality=90, **options)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
@pytest.mark.parametrize("end", [b"", b"\xff\xd9"])
def test_jpeg_that_is_cut_off_is_damaged(
    tmp_path: Path, options: dict[str, Any], end: bytes
) -> None:
    """FFmpeg would fill the rest with gray, and the network would see it; the mark of the end,
    which some programs add, does not make it whole."""
    data = jpeg(**options)
    path = tmp_path / "a.jpg"
    for share in (0.3, 0.6, 0.95):
        path.write_bytes(data[: int(len(data) * share)] + end)
        with pytest.raises(SourceError, match=r"a\.jpg: is a damaged picture"):
            next(open_source(path, FORMAT))
    path.write_bytes(data)
    assert next(open_source(path, FORMAT)).shape == (1, 12, 16, 3)


def test_png_with_a_flipped_byte_is_damaged(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    data = bytearray(encoded(Image.fromarray(noise), "png"))
    data[5000] ^= 0xFF
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(SourceError, match="is a damaged picture"):
        next(open_source(tmp_path, FORMAT))


@pytest.mark.parametrize("compression", ["jpeg", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_tiff_has_its_colours_however_it_is_compressed(tmp_path: Path, compression: str) -> None:
    Image.new("RGB", (16, 12), (250, 10, 10)).save(tmp_path / "a.tif", compression=compression)
    frame = next(open_source(tmp_path, FORMAT))
    np.testing.assert_allclose(frame[0], np.broadcast_to([250, 10, 10], (12, 16, 3)), atol=3)


def test_pictures_of_16_bits_and_animations_are_read(tmp_path: Path) -> None:
    Image.fromarray(np.full((12, 16), 0x80FF, np.uint16)).save(tmp_path / "a.tif")
    frames = [Image.new("RGB", (16, 12), colour) for colour in ((128,) * 3, (9, 9, 9))]
    frames[0].save(tmp_path / "b.webp", save_all=True, append_images=frames[1:], lossless=True)
    with pytest.warns(SourceWarning, match="of which the first"):
        assert firsts(open_source(tmp_path, FORMAT)) == [128, 128]


@pytest.mark.parametrize("mode", ["F", "I"])
def test_whole_pictures_of_kinds_that_are_not_read_are_not_called_damaged(
    tmp_path: Path, mode: str
) -> None:
    Image.new(mode, (16, 12)).save(tmp_path / "a.tif")
    with pytest.raises(SourceError, match="of a kind that is not read: its pixels are"):
        next(open_source(tmp_path, FORMAT))


def test_pictures_of_three_fractions_a_pixel_are_not_called_damaged(tmp_path: Path) -> None:
    sample_format, fractions = 339, (3, 3, 3)
    picture = Image.new("RGB", (16, 12))
    picture.save(tmp_path / "a.tif", tiffinfo={sample_format: fractions})
    with pytest.raises(SourceError, match="not read: its pixels are fractions"):
        next(open_source(tmp_path, FORMAT))
    (tmp_path / "a.tif").write_bytes((tmp_path / "a.tif").read_bytes()[:9])
    with pytest.raises(SourceError, match="is a damaged picture"):
        next(open_source(tmp_path, FORMAT))


def test_pictures_too_large_to_be_read_are_not_called_damaged(tmp_path: Path) -> None:
    header = encoded(Image.new("L", (1, 1)), "png")
    huge = header[:16] + struct.pack(">II", 20000, 14000) + header[24:29]
    huge += struct.pack(">I", zlib.crc32(huge[12:29])) + header[33:]
    (tmp_path / "a.png").write_bytes(huge)
    with pytest.raises(SourceError, match="more than 178 million pixels"):
        next(open_source(tmp_path, FORMAT))


def test_hidden_files_and_folders_are_no_pictures_of_a_folder(tmp_path: Path) -> None:
    """macOS and file managers leave such behind; one of them ended a whole run."""
    write_image(tmp_path / "a.png", flat(5))
    for name in ("._a.png", ".DS_Store", ".thumbnail.jpg"):
        (tmp_path / name).write_bytes(b"\0\5\26\7")
    (tmp_path / "d.png").mkdir()
    source = open_source(tmp_path, FORMAT)
    assert source.length == 1
    assert firsts(source) == [5]
    (tmp_path / "a.png").unlink()
    with pytest.raises(SourceError, match="holds no pictures"):
        open_source(tmp_path, FORMAT)


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


@pytest.mark.parametrize("suffix", ["webp", "tif", "png"])
def test_files_of_several_pictures_say_that_the_first_is_read(tmp_path: Path, suffix: str) -> None:
    """An animation whose other pictures went by in silence would be taken for read."""
    pictures = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    path = tmp_path / f"a.{suffix}"
    pictures[0].save(path, save_all=True, append_images=pictures[1:])
    format = InputFormat(name="x", width=8, height=8, layout="nhwc")
    with pytest.warns(SourceWarning, match="holds 3 pictures, of which the first is read"):
        (frame,) = open_source(path, format)
    assert frame[0, 0, 0, 0] > 250


@pytest.mark.parametrize("suffix", [".png", ".apng"])
def test_colour_profiles_do_no_harm(tmp_path: Path, suffix: str) -> None:
    """Screenshots have them. Their names would be freed twice, which ends the process."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    shots = [Image.fromarray(flat(value)) for value in (7, 9)]
    more = (
        {"save_all": True, "append_images": shots[1:], "duration": 40} if suffix == ".apng" else {}
    )
    shots[0].save(tmp_path / f"shot{suffix}", "PNG", icc_profile=profile, **more)
    for _ in range(3):
        found = firsts(open_source(tmp_path / f"shot{suffix}", FORMAT))
        assert found == ([7, 9] if suffix == ".apng" else [7])
        gc.collect()
