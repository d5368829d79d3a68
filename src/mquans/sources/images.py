"""Still pictures as frames: a folder, a glob, or one file."""

from __future__ import annotations

import glob
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mquans.errors import SourceError
from mquans.files import printable, reason
from mquans.sources.orientation import UPRIGHT, exif_matrix, upright
from mquans.sources.preparation import WITH_PROFILES, Picture, stored_rgb
from mquans.sources.selection import Selection
from mquans.sources.unreadable import Unreadable
from mquans.sources.warning import SourceWarning

if TYPE_CHECKING:
    import av

# The codec is told by the first bytes: extensions lie, and probing by FFmpeg takes longer than
# decoding a small picture. What has no codec here is read by Pillow: FFmpeg gives TIFF files that
# are compressed as JPEG in black, and no animated WebP.
_MAGIC: tuple[tuple[bytes, str | None], ...] = (
    (b"\xff\xd8\xff", "mjpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"BM", "bmp"),
    (b"RIFF", None),
    (b"II*\x00", None),
    (b"MM\x00*", None),
    (b"P5", "pgm"),
    (b"P6", "ppm"),
)

# Left to itself, FFmpeg fills what is missing of a picture with gray.
_STRICT = {"err_detect": "explode+crccheck"}

_MILLION = 1_000_000
_DAMAGED = "is a damaged picture."
_PIXELS_OF_FRACTIONS = "its pixels are fractions"
_FRACTIONS = 3
"""The SampleFormat of TIFF files that says so."""

IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
)


class ImageReader:
    """Decodes pictures one by one, in the order given.

    Args:
        unreadable: meets pictures that cannot be decoded.
    """

    def __init__(self, paths: Sequence[Path], unreadable: Unreadable, *, name: str) -> None:
        self.name = name
        self._unreadable = unreadable
        self.total = len(paths)
        self._paths = paths
        self._codecs: dict[str, Any] = {}
        self._reformatter: Any = None

    def frames(self, selection: Selection) -> Iterator[av.VideoFrame | Picture]:
        """Decoded pictures, each in its file's size, held upright.

        Raises:
            SourceError: as `unreadable`; a file cannot be read, is not a picture, or is damaged.
        """
        chosen = selection.indices(self.total)
        for index in chosen:
            try:
                picture = self._decode(self._paths[index])
            except SourceError as error:
                self._unreadable.meet(error)
            else:
                yield picture
        self._unreadable.tell(self.name, len(chosen))

    def close(self) -> None:
        self._codecs.clear()

    def _decode(self, path: Path) -> av.VideoFrame | Picture:
        where = printable(str(path))
        try:
            data = path.read_bytes()
        except OSError as error:
            raise SourceError(f"cannot be read: {reason(error)}", where=where) from error
        for magic, codec in _MAGIC:
            if data.startswith(magic):
                return _by_pillow(data, where) if codec is None else self._by(codec, data, where)
        raise SourceError("is not a picture of a kind that is read.", where=where)

    def _by(self, name: str, data: bytes, where: str) -> av.VideoFrame | Picture:
        import av

        try:
            if name not in self._codecs:
                codec = av.CodecContext.create(name, "r")
                codec.thread_count, codec.options = 1, _STRICT
                self._codecs[name] = codec
            packet = av.Packet(data)
            # Without the mark, the PNG decoder takes a picture for a change to the one before.
            packet.is_keyframe = True
            frames = self._codecs[name].decode(packet)
        except (av.FFmpegError, ValueError) as error:
            self._codecs.pop(name, None)
            if name != "mjpeg":
                # FFmpeg also refuses pictures for what stands beside their pixels.
                return _by_pillow(data, where)
            if isinstance(error, av.PatchWelcomeError):
                raise SourceError(_unread("its coding"), where=where) from error
            raise SourceError(_verdict(data), where=where) from error
        if name == "png":
            _tell_of_others(_animated(data), where)
        if not frames:
            self._codecs.pop(name, None)
            raise SourceError(_DAMAGED, where=where)
        frame: av.VideoFrame = frames[0]
        matrix = exif_matrix(data)
        if matrix == UPRIGHT and name not in WITH_PROFILES:
            return frame
        self._reformatter = self._reformatter or av.video.reformatter.VideoReformatter()
        return upright(stored_rgb(frame, self._reformatter), matrix)


def _by_pillow(data: bytes, where: str) -> Picture:
    """The first picture of a file: uint8 [H, W, 3] in RGB, or [H, W] in gray."""
    from PIL import Image

    try:
        # What it warns of, it also raises where the picture suffers.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(BytesIO(data)) as image:
                count = getattr(image, "n_frames", 1)
                image.load()
    except MemoryError:
        raise
    except Exception as error:  # of as many kinds as there are coders
        raise SourceError(_verdict(data), where=where) from error
    _tell_of_others(count, where)
    if image.mode.startswith("I;16"):
        picture = (np.asarray(image) >> 8).astype(np.uint8)
    elif image.mode in ("I", "F"):
        whole = "its pixels are whole numbers of 32 bits"
        raise SourceError(
            _unread(_PIXELS_OF_FRACTIONS if image.mode == "F" else whole), where=where
        )
    else:
        picture = np.asarray(image.convert("L" if image.mode in ("1", "L", "LA") else "RGB"))
    # Of TIFF files, Pillow does it by itself.
    return picture if image.format == "TIFF" else upright(picture, exif_matrix(data))


def _animated(png: bytes) -> int:
    """How many pictures an animated PNG file holds; 1 for any other."""
    at = png.find(b"acTL", 0, png.find(b"IDAT"))
    return int.from_bytes(png[at + 4 : at + 8]) if at >= 0 else 1


def _tell_of_others(count: int, where: str) -> None:
    if count > 1:
        warnings.warn(
            f"{where} holds {count} pictures, of which the first is read.",
            SourceWarning,
            stacklevel=3,
        )


def _unread(why: str) -> str:
    return f"is a picture of a kind that is not read: {why}."


def _verdict(data: bytes) -> str:
    """Why a picture cannot be decoded: it is larger than any that is read, of numbers that are not
    read, or damaged."""
    from PIL import Image, UnidentifiedImageError

    with suppress(Exception), warnings.catch_warnings(action="ignore"):  # as above
        try:
            Image.open(BytesIO(data)).close()
        except Image.DecompressionBombError:
            most = 2 * (Image.MAX_IMAGE_PIXELS or 0) // _MILLION
            return f"is a picture of more than {most} million pixels, which is not read."
        except UnidentifiedImageError:
            return _numbers_unread(data) or _DAMAGED
    return _DAMAGED


def _numbers_unread(tiff: bytes) -> str | None:
    """Why a TIFF file is none that Pillow reads; None where it does not tell by its numbers."""
    from PIL import ExifTags
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    file = BytesIO(tiff)
    tags = ImageFileDirectory_v2(file.read(8))
    file.seek(tags.next)
    tags.load(file)
    if _FRACTIONS in tags.get(ExifTags.Base.SampleFormat, ()):
        return _unread(_PIXELS_OF_FRACTIONS)
    bits = max(tags.get(ExifTags.Base.BitsPerSample, (0,)))
    return _unread(f"its pixels are whole numbers of {bits} bits") if bits > 16 else None


def list_folder(folder: Path) -> list[Path]:
    """Pictures directly in a folder, in natural order (`2.png` before `10.png`).

    Raises:
        SourceError: the folder cannot be listed or holds no picture.
    """
    found = files_in(folder, IMAGE_SUFFIXES)
    if not found:
        raise SourceError(
            f"the folder holds no pictures ({', '.join(sorted(IMAGE_SUFFIXES))}).",
            where=printable(str(folder)),
        )
    return found


def files_in(folder: Path, suffixes: frozenset[str]) -> list[Path]:
    """Files directly in a folder with one of the suffixes, in natural order. Hidden ones, which
    systems keep beside others for themselves (`._a.jpg`), are left out.

    Raises:
        SourceError: the folder cannot be listed.
    """
    try:
        found = [
            path
            for path in folder.iterdir()
            if path.suffix.lower() in suffixes
            and not path.name.startswith(".")
            and not path.is_dir()
        ]
    except OSError as error:
        raise SourceError(
            f"cannot be read: {reason(error)}", where=printable(str(folder))
        ) from error
    return sorted(found, key=_natural)


def list_glob(pattern: str) -> list[Path]:
    """Files that match a glob, in natural order; `**` goes into folders.

    Raises:
        SourceError: nothing matches.
    """
    # Unlike Path.glob, this takes a pattern that begins at the root of the file system.
    matches = glob.glob(pattern, recursive=True)  # noqa: PTH207
    found = [path for path in map(Path, matches) if path.is_file()]
    if not found:
        raise SourceError("no file matches the pattern.", where=printable(pattern))
    return sorted(found, key=_natural)


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Sort key in which runs of digits count as numbers; `\\0` keeps folders before their files."""
    parts = re.split(r"(\d+)", str(path).replace("/", "\0"))
    return [
        (0, int(part), part) if part.isdecimal() and part.isascii() else (1, 0, part)
        for part in parts
        if part
    ]
