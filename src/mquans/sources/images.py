"""Still pictures as frames: a folder, a glob, or one file."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mquans.errors import SourceError
from mquans.files import printable, reason
from mquans.sources.selection import Selection

if TYPE_CHECKING:
    import av

# The codec is told by the first bytes: extensions lie, and probing by FFmpeg takes longer than
# decoding a small picture.
_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8\xff", "mjpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"BM", "bmp"),
    (b"RIFF", "webp"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"P5", "pgm"),
    (b"P6", "ppm"),
)

IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
)


class ImageReader:
    """Decodes pictures one by one, in the order given."""

    def __init__(self, paths: Sequence[Path], *, name: str) -> None:
        self.name = name
        self.total = len(paths)
        self._paths = paths
        self._codecs: dict[str, Any] = {}

    def frames(self, selection: Selection) -> Iterator[av.VideoFrame]:
        """Decoded pictures, each in its file's size and pixel format.

        Raises:
            SourceError: a file cannot be read or is not a picture (named).
        """
        for index in selection.indices(self.total):
            yield self._decode(self._paths[index])

    def close(self) -> None:
        self._codecs.clear()

    def _decode(self, path: Path) -> av.VideoFrame:
        import av

        where = printable(str(path))
        try:
            data = path.read_bytes()
        except OSError as error:
            raise SourceError(f"cannot be read: {reason(error)}", where=where) from error
        name = next((codec for magic, codec in _MAGIC if data.startswith(magic)), None)
        if name is None:
            raise SourceError("is not a picture in a known format.", where=where)
        try:
            if name not in self._codecs:
                self._codecs[name] = av.CodecContext.create(name, "r")
                self._codecs[name].thread_count = 1
            packet = av.Packet(data)
            # Without the mark, the PNG decoder takes a picture for a change to the one before.
            packet.is_keyframe = True
            frames = self._codecs[name].decode(packet)
        except (av.FFmpegError, ValueError) as error:
            self._codecs.pop(name, None)
            raise SourceError("is a damaged picture.", where=where) from error
        if not frames:
            self._codecs.pop(name, None)
            raise SourceError("is a damaged picture.", where=where)
        frame: av.VideoFrame = frames[0]
        return frame


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
    """Files directly in a folder with one of the suffixes, in natural order.

    Raises:
        SourceError: the folder cannot be listed.
    """
    try:
        found = [path for path in folder.iterdir() if path.suffix.lower() in suffixes]
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
