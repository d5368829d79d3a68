"""What a user may give as a source, and which reader serves it."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mquans.errors import SourceError
from mquans.files import printable
from mquans.plan.schema import InputFormat
from mquans.sources.arrays import ArrayReader, IterableReader, read_array_file
from mquans.sources.images import IMAGE_SUFFIXES, ImageReader, list_folder, list_glob
from mquans.sources.selection import Selection
from mquans.sources.source import Reader, Source
from mquans.sources.video import open_camera, open_rtsp, open_video_file

ACCEPTED = (
    "A source is a video file, an rtsp:// URL, a camera index (0, 1, ...), a folder or glob of "
    "images, an .npy or .npz file, or any Python iterable of arrays."
)


def open_source(
    spec: str | Path | int | Iterable[Any],
    format: InputFormat | None = None,
    *,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    frames: int | None = None,
    skip: int = 0,
    stride: int = 1,
) -> Source:
    """Open a source of frames.

    Args:
        spec: video file, RTSP URL, camera index (an int, or a string of digits), folder or glob of
            images (in natural order), `.npy` or `.npz` file (frames along the first axis; an .npz
            of several arrays holds one per network input), or any iterable of arrays or of dicts of
            arrays by input name.
        format: how pictures become the network's input. uint8 arrays [H, W, 3] in RGB and [H, W]
            are pictures; float arrays are ready tensors, which bypass it.
        input_shapes: of the network, to tell whether a ready tensor has its batch axis already;
            without it (and without a format), a leading axis of length 1 is taken for the batch.
        frames, skip, stride: leave out the first `skip` frames, then take every `stride`-th, at
            most `frames` of them.

    Raises:
        SourceError: the source cannot be opened, or is nothing of the above. While iterating: it
            gives no frame at all, a picture is damaged, or a live stream breaks off. A clip that
            breaks off gives what it holds, then warns with `SourceWarning`.
    """
    selection = Selection(frames=frames, skip=skip, stride=stride)
    reader = _open(spec)
    try:
        return Source(reader, selection, format, input_shapes)
    except BaseException:
        reader.close()
        raise


def _open(spec: object) -> Reader:
    match spec:
        case bool() | bytes() | bytearray():
            raise SourceError(f"{type(spec).__name__} is not a source.", hint=ACCEPTED)
        case int():
            return _camera(spec)
        case str():
            return _open_text(spec)
        case Path():
            return _open_path(spec)
        case np.ndarray():
            return ArrayReader(spec, name="array")
        case Mapping():
            arrays = {str(name): np.asarray(array) for name, array in spec.items()}
            return ArrayReader(arrays, name="arrays")
        case Iterable():
            return IterableReader(spec)
    raise SourceError(f"{type(spec).__name__} is not a source.", hint=ACCEPTED)


def _open_text(spec: str) -> Reader:
    if re.fullmatch(r"[0-9]{1,4}", spec):
        return _camera(int(spec))
    if scheme := re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", spec):
        if scheme[1].lower() in ("rtsp", "rtsps"):
            return open_rtsp(spec)
        raise SourceError(f"{scheme[1]}:// is not a source.", hint=ACCEPTED)
    if not spec or "\0" in spec:
        raise SourceError("the source is not a usable name.", hint=ACCEPTED)
    path = Path(spec).expanduser()
    # A file may be called `clip[1].mp4`: what exists under its own name is no pattern.
    if not _exists(path) and glob.has_magic(spec):
        return ImageReader(list_glob(str(path)), name=printable(spec))
    return _open_path(path)


def _open_path(path: Path) -> Reader:
    if not _exists(path):
        raise SourceError(
            "there is no such file or folder.", where=printable(str(path)), hint=ACCEPTED
        )
    if path.is_dir():
        return ImageReader(list_folder(path), name=printable(str(path)))
    suffix = path.suffix.lower()
    if suffix in (".npy", ".npz"):
        return read_array_file(path)
    if suffix in IMAGE_SUFFIXES:
        return ImageReader([path], name=printable(str(path)))
    try:
        return open_video_file(path)
    except SourceError as error:
        raise SourceError(error.what, where=error.where, hint=ACCEPTED) from error


def _camera(index: int) -> Reader:
    if index < 0:
        raise SourceError(f"there is no camera {index}.", hint=ACCEPTED)
    return open_camera(index)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # such as a name too long to exist
        return False
