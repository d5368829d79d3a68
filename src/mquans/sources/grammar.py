"""What a user may give as a source, and which reader serves it."""

from __future__ import annotations

import glob
import re
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mquans.errors import SourceError
from mquans.files import expanded, printable
from mquans.plan import AudioFormat, InputFormat, Plan
from mquans.sources.arrays import ArrayReader, IterableReader, read_array_file
from mquans.sources.clips import VIDEO_SUFFIXES, ClipsReader
from mquans.sources.images import (
    IMAGE_SUFFIXES,
    ImageReader,
    files_in,
    list_folder,
    list_glob,
)
from mquans.sources.kinds import named_by, sounds_in
from mquans.sources.live import LiveReader
from mquans.sources.microphone import MicrophoneReader
from mquans.sources.network import opener_of
from mquans.sources.pcm import Pcm, parse_pcm
from mquans.sources.pipe import STANDARD_INPUT, Pipe, PipeReader, open_pipe, standard_input
from mquans.sources.piped_sound import listen_to
from mquans.sources.playlist import PlaylistReader
from mquans.sources.reconnecting import ReconnectingReader
from mquans.sources.selection import Selection
from mquans.sources.sound import AUDIO_SUFFIXES, SoundFile, SoundReader
from mquans.sources.source import Reader, Source
from mquans.sources.unreadable import OnError, Unreadable
from mquans.sources.video import (
    CAMERA_TIMEOUT_S,
    PIPEABLE,
    VideoReader,
    open_camera,
    open_piped_video,
    open_video_file,
)
from mquans.sources.windows import WindowReader

ACCEPTED = (
    "A source is a video file, an rtsp://, http:// or udp:// URL, a camera index (0, 1, ...), a "
    "sound file, a microphone (mic: or mic:0, ...), standard input (-), a folder or glob of "
    "images, videos or sound files, an .npy or .npz file, or any Python iterable of arrays."
)

CUT_OFF = (
    "Was the recording cut off? MP4 and MOV files have at their end what says where pictures are."
)

Format = InputFormat | AudioFormat | None


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a source is opened for."""

    format: Format
    unreadable: Unreadable
    reconnect: bool
    """Open cameras again that fall away."""
    pcm: Pcm | None
    """What comes is raw samples, written like this."""


def open_source(
    spec: str | Path | int | Iterable[Any],
    format: InputFormat | AudioFormat | None = None,
    *,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    frames: int | None = None,
    skip: int = 0,
    stride: int = 1,
    pixels: bool = False,
    on_error: OnError = "stop",
    reconnect: bool = True,
    pcm: str | None = None,
) -> Source:
    """Open a source of frames.

    Args:
        spec: video file, RTSP, HTTP or UDP URL, camera index (an int, or a string of digits), sound
            file, microphone (`mic:` or `mic:INDEX`), standard input (`-`), folder or glob of
            images, of videos or of sound files (in natural order), `.npy` or `.npz` file (frames
            along the first axis; an .npz of several arrays holds one per network input), or any
            iterable of arrays or of dicts of arrays by input name.
        format: how pictures or sound become the network's input. uint8 arrays [H, W, 3] in RGB and
            [H, W] are pictures; float arrays are ready tensors, which bypass it. With a layout
            that has an axis of time, a frame is a window of consecutive pictures. Every sound
            file, and every video of several, is a recording of its own: its first frame is a
            `FirstFrame`.
        input_shapes: of the network, to tell whether a ready tensor has its batch axis already;
            without it (and without a format), a leading axis of length 1 is taken for the batch.
        frames: at most so many; all without it.
        skip: first frames that are left out.
        stride: every so-many-th of the others is taken.
        pixels: give pictures as uint8, resized and in the network's layout, and leave scale, mean
            and std to the stream that takes them (`Stream.step`), which is faster and gives the
            same outputs. For our engine only.
        on_error: a file of a folder or glob that cannot be read is an error (`stop`), or is left
            out, counted in `Source.skipped`, and told of at the end by a `SourceWarning` (`skip`).
        reconnect: a camera that breaks off, ends or falls silent is opened again, until it has been
            away for `reconnecting.AWAY_LIMIT_S`; each gap is told of by a `SourceWarning`.
        pcm: what comes from standard input, a pipe or a file is raw samples, written as
            `ENCODING:RATE[:CHANNELS]` says, such as `s16le:16000:1`; by FFmpeg's names.

    Raises:
        DependencyError: sound, or a microphone, without the extra that reads it.
        SourceError: the source cannot be opened, or is nothing of the above. While iterating: it
            gives no frame at all, a picture is damaged, or a live stream breaks off (with
            `reconnect`: for good). A clip that breaks off gives what it holds, then warns with
            `SourceWarning`.
    """
    selection = Selection(frames=frames, skip=skip, stride=stride)
    raw = None if pcm is None else parse_pcm(pcm)
    wanted = _Wanted(format, Unreadable(on_error), reconnect, raw)
    reader = _open(spec, wanted)
    if raw is not None and not isinstance(reader, PipeReader):
        reader.close()
        raise SourceError(
            "gives no raw samples, so --pcm says nothing about it.",
            where=reader.name,
            hint="Raw samples come from standard input (-), a named pipe or one file.",
        )
    if not isinstance(reader, ClipsReader | LiveReader | PipeReader):
        reader = _windows(reader, format)
    try:
        return Source(
            reader, selection, format, input_shapes, pixels=pixels, unreadable=wanted.unreadable
        )
    except BaseException:
        reader.close()
        raise


def open_planned(
    plan: Plan,
    spec: str | Path | int | Iterable[Any],
    *,
    frames: int | None = None,
    skip: int = 0,
    stride: int = 1,
    pixels: bool = False,
    on_error: OnError = "stop",
    reconnect: bool = True,
    pcm: str | None = None,
) -> Source:
    """A source prepared as a plan says; arguments and errors as `open_source`."""
    return open_source(
        spec,
        plan.preparation,
        input_shapes=plan.input_shapes,
        frames=frames,
        skip=skip,
        stride=stride,
        pixels=pixels,
        on_error=on_error,
        reconnect=reconnect,
        pcm=pcm,
    )


def _open(spec: object, wanted: _Wanted) -> Reader:
    match spec:
        case bool() | bytes() | bytearray():
            raise SourceError(f"{type(spec).__name__} is not a source.", hint=ACCEPTED)
        case int():
            return _camera(spec, wanted)
        case str():
            return _open_text(spec, wanted)
        case Path():
            return _open_path(spec, wanted)
        case np.ndarray():
            return ArrayReader(spec, name="array")
        case Mapping():
            arrays = {str(name): np.asarray(array) for name, array in spec.items()}
            return ArrayReader(arrays, name="arrays")
        case Iterable():
            return IterableReader(spec)
    raise SourceError(f"{type(spec).__name__} is not a source.", hint=ACCEPTED)


def _windows(reader: Reader, format: Format) -> Reader:
    """The reader's pictures, or windows of them if the format says so."""
    if isinstance(reader, ArrayReader | IterableReader) and reader.ready:
        return reader
    if isinstance(format, InputFormat) and "t" in format.layout:
        return WindowReader(reader, format.window, format.hop)
    return reader


def _live(open: Callable[[], VideoReader], wanted: _Wanted) -> Reader:
    """The newest pictures of a camera; what lies in the network may also be a clip."""
    video = open()
    if not video.live:
        return video
    closing = threading.Event()
    camera: Reader = video
    again: Callable[[], Reader] = open
    if video.playlist:
        camera = playlist = PlaylistReader(video, open, pause=closing.wait)
        again = playlist.again
    if wanted.reconnect:
        camera = ReconnectingReader(camera, again, pause=closing.wait)
    # A window of a camera holds every picture of its time: only whole windows are dropped.
    return LiveReader(_windows(camera, wanted.format), CAMERA_TIMEOUT_S, closing)


def _piped(pipe: Pipe, wanted: _Wanted) -> Reader:
    """What comes through a pipe: sound for a network that listens, else pictures."""
    try:
        if wanted.pcm is not None or isinstance(wanted.format, AudioFormat):
            return listen_to(pipe, _of_sound(wanted.format, pipe.name), wanted.pcm)
        video = _windows(open_piped_video(pipe), wanted.format)
        return PipeReader(video, pipe, hint=PIPEABLE)
    except BaseException:
        pipe.close()
        pipe.check()
        raise


def _open_text(spec: str, wanted: _Wanted) -> Reader:
    if spec in STANDARD_INPUT:
        return _piped(standard_input(), wanted)
    if re.fullmatch(r"[0-9]{1,4}", spec):
        return _camera(int(spec), wanted)
    if microphone := re.fullmatch(r"mic:([0-9]{0,4})", spec):
        index = int(microphone[1]) if microphone[1] else None
        return MicrophoneReader(index, _of_sound(wanted.format, "a microphone"))
    if scheme := re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", spec):
        if scheme[1].lower() == "file":
            return _open_path(named_by(spec), wanted)
        if opener := opener_of(spec):
            return _live(opener, wanted)
        raise SourceError(f"{scheme[1]}:// is not a source.", hint=ACCEPTED)
    if not spec or "\0" in spec:
        raise SourceError("the source is not a usable name.", hint=ACCEPTED)
    path = expanded(spec)
    # A file may be called `clip[1].mp4`: what exists under its own name is no pattern.
    if not _exists(path) and glob.has_magic(spec):
        return _open_files(list_glob(str(path)), wanted, name=printable(spec))
    return _open_path(path, wanted)


def _open_path(path: Path, wanted: _Wanted) -> Reader:
    if not _exists(path):
        raise SourceError(
            "there is no such file or folder.", where=printable(str(path)), hint=ACCEPTED
        )
    if path.is_fifo() or (wanted.pcm is not None and path.is_file()):
        return _piped(open_pipe(path), wanted)
    if path.is_dir():
        name = printable(str(path))
        sounds = sounds_in(path, preferred=isinstance(wanted.format, AudioFormat))
        return _open_files(sounds or _shown_in(path), wanted, name=name)
    suffix = path.suffix.lower()
    if suffix in (".npy", ".npz"):
        return read_array_file(path)
    listens = isinstance(wanted.format, AudioFormat) and suffix not in IMAGE_SUFFIXES
    if listens or suffix in AUDIO_SUFFIXES:
        return _open_sounds([path], wanted, name=printable(str(path)))
    if suffix in IMAGE_SUFFIXES:
        return _open_files([path], wanted, name=printable(str(path)))
    try:
        return open_video_file(path)
    except SourceError as error:
        hint = error.hint or (CUT_OFF if _is_mp4(path) else ACCEPTED)
        raise SourceError(error.what, where=error.where, hint=hint) from error


def _is_mp4(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(8)[4:] == b"ftyp"
    except OSError:
        return False


def _shown_in(path: Path) -> list[Path]:
    """Pictures of a folder; without any, its videos."""
    videos = files_in(path, VIDEO_SUFFIXES)
    return videos if videos and not files_in(path, IMAGE_SUFFIXES) else list_folder(path)


def _open_files(paths: list[Path], wanted: _Wanted, *, name: str) -> Reader:
    """Sound files or videos, if the first is one, else pictures."""
    suffix = paths[0].suffix.lower()
    listens = isinstance(wanted.format, AudioFormat)
    if suffix in AUDIO_SUFFIXES or (listens and suffix in VIDEO_SUFFIXES):
        return _open_sounds(paths, wanted, name=name)
    if suffix in VIDEO_SUFFIXES:
        return ClipsReader(
            paths,
            lambda path: _windows(open_video_file(path), wanted.format),
            wanted.unreadable,
            name=name,
        )
    return ImageReader(paths, wanted.unreadable, name=name)


def _open_sounds(paths: list[Path], wanted: _Wanted, *, name: str) -> Reader:
    """The sound of files, also of videos where the network listens."""
    files = [SoundFile(path) for path in paths]
    return SoundReader(files, _of_sound(wanted.format, name), wanted.unreadable, name=name)


def _of_sound(format: Format, name: str) -> AudioFormat:
    if not isinstance(format, AudioFormat):
        raise SourceError(
            "is sound, but nothing says how it becomes the network's input.",
            where=printable(name),
            hint="Take a plan that was calibrated with sound, or calibrate with --features; in "
            "Python, give a format of sound (mquans.guess_audio_format).",
        )
    return format


def _camera(index: int, wanted: _Wanted) -> Reader:
    if index < 0:
        raise SourceError(f"there is no camera {index}.", hint=ACCEPTED)
    return _live(lambda: open_camera(index), wanted)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # such as a name too long to exist
        return False
