"""Recordings as frames: one sound file after the other, each a stream of its own."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mquans.errors import DependencyError, SourceError
from mquans.files import printable, reason
from mquans.plan.audio import AudioFormat
from mquans.sources.audio_frames import (
    PIECE_SAMPLES,
    AudioFrames,
    Tensor,
    count_frames,
    whole_recording,
)
from mquans.sources.decoded_sound import DECODED_SUFFIXES, DecodedSound
from mquans.sources.frames import FirstFrame, Timed
from mquans.sources.selection import Selection
from mquans.sources.unreadable import Unreadable
from mquans.sources.warning import SourceWarning

_LIBSNDFILE_SUFFIXES = frozenset(
    (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".w64", ".rf64", ".caf",
     ".au")
)  # fmt: skip
AUDIO_SUFFIXES = _LIBSNDFILE_SUFFIXES | DECODED_SUFFIXES

Samples = npt.NDArray[np.float32]


class SoundReader:
    """Frames of sound files, in the order given. Memory does not grow with their length.

    Args:
        unreadable: meets files that cannot be read, or not to their end.
    """

    def __init__(
        self, paths: Sequence[Path], format: AudioFormat, unreadable: Unreadable, *, name: str
    ) -> None:
        self.name = name
        self._paths = paths
        self._unreadable = unreadable
        self._format = format
        self._frames = AudioFrames(format)
        self.total = sum(map(self._count, paths))

    def frames(self, selection: Selection) -> Iterator[Timed]:
        """The network's input by name; the first frame of every file is a `FirstFrame`, also when
        frames before it were left out.

        A file that breaks off gives what it holds, then warns with `SourceWarning`.

        Raises:
            SourceError: as `unreadable`; a file cannot be read, is empty, or holds NaN (named).
        """
        playing = None
        for recording, frame, time_s in selection.apply(self._every_frame()):
            feeds = {self._format.name: frame}
            yield Timed(feeds if recording == playing else FirstFrame(feeds), time_s)
            playing = recording
        self._unreadable.tell(self.name, len(self._paths))

    def close(self) -> None:
        self._paths = ()

    def _every_frame(self) -> Iterator[tuple[int, Tensor, float]]:
        for recording, path in enumerate(self._paths):
            try:
                pieces = _pieces(path, self._format.rate)
                for frame, time_s in whole_recording(self._frames, pieces):
                    yield recording, frame, time_s
            except SourceError as error:
                self._unreadable.meet(error)

    def _count(self, path: Path) -> int:
        try:
            length, rate = _length_and_rate(path)
        except SourceError:
            if not self._unreadable.skips:
                raise
            return 0  # met when it is its turn
        return count_frames(self._format, round(length * self._format.rate / rate))


def read_sound(path: str | Path, rate: int | None = None) -> tuple[Samples, int]:
    """A whole sound file, mono, and its rate.

    Args:
        rate: to resample to; None for the file's own.

    Returns:
        float32 [samples] from -1 to 1, and samples per second.

    Raises:
        SourceError: it cannot be read, is empty, or holds NaN.
        DependencyError: the extra `audio` is not installed.
    """
    file = Path(path)
    wanted = rate or _length_and_rate(file)[1]
    return np.concatenate(list(_pieces(file, wanted))), wanted


def _pieces(path: Path, rate: int) -> Iterator[Samples]:
    """Samples of a file at a rate, mono, piece by piece."""
    with _open(path) as file:
        own, resampler = file.samplerate, None
        if own != rate:
            resampler = _resampler(own, rate)
        heard, silent = 0, True
        while len(piece := _read(file)):
            mono = np.ascontiguousarray(piece.mean(axis=1))
            if not np.isfinite(mono).all():
                second = (heard + int(np.argmin(np.isfinite(mono)))) / own
                raise SourceError(
                    f"holds NaN or infinite samples, the first at {second:.3f} s.",
                    where=printable(str(path)),
                )
            heard += len(mono)
            silent = silent and not mono.any()
            yield mono if resampler is None else resampler.resample_chunk(mono)
        if resampler is not None:
            yield resampler.resample_chunk(np.empty(0, np.float32), last=True)
    if not heard:
        raise SourceError("holds no samples.", where=printable(str(path)))
    promised = file.promised if isinstance(file, DecodedSound) else file.frames
    _warn(path, heard, promised, own, silent=silent)


def _read(file: Any) -> Samples:
    if isinstance(file, DecodedSound):
        return file.read()
    import soundfile

    try:
        piece: Samples = file.read(PIECE_SAMPLES, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError:
        # Damaged in the middle: what came before counts, and `_warn` tells of it.
        return np.empty((0, 1), np.float32)
    return piece


def _warn(path: Path, heard: int, promised: int, rate: int, *, silent: bool) -> None:
    name = printable(str(path))
    if heard < promised or _cut_off(path):
        warnings.warn(
            f"{name} is damaged or cut off; {heard / rate:.2f} s could be read.",
            SourceWarning,
            stacklevel=2,
        )
    if silent:
        warnings.warn(f"{name} is silent: every sample is 0.", SourceWarning, stacklevel=2)


def _cut_off(path: Path) -> bool:
    """Does a WAV file's header promise more than there is? libsndfile reads what there is."""
    with path.open("rb") as file:
        head = file.read(12)
        size = file.seek(0, 2)
    declared = int.from_bytes(head[4:8], "little") + 8
    # Programs that write into a pipe cannot know the length and leave the largest or nothing.
    known = 8 < declared < 0xFFFFFFFF
    return head[:4] == b"RIFF" and head[8:] == b"WAVE" and known and declared > size + 1


def _length_and_rate(path: Path) -> tuple[int, int]:
    with _open(path) as file:
        return int(file.frames), int(file.samplerate)


def _open(path: Path) -> Any:
    where = printable(str(path))
    try:
        if path.stat().st_size == 0:
            raise SourceError("is an empty file.", where=where)
    except OSError as error:
        raise SourceError(f"cannot be read: {reason(error)}", where=where) from error
    if path.suffix.lower() not in _LIBSNDFILE_SUFFIXES:
        return DecodedSound(path)
    try:
        import soundfile
    except (ImportError, OSError):  # OSError: the package without the library under it
        raise DependencyError(
            "sound files need the package 'soundfile'.",
            hint='Install it with: pip install "mquans[audio]"',
        ) from None
    try:
        return soundfile.SoundFile(str(path))
    except OSError as error:
        raise SourceError(f"cannot be read: {reason(error)}", where=where) from error
    except soundfile.LibsndfileError as error:
        why = printable(str(error.error_string)).rstrip(".")
        raise SourceError(f"is not sound that can be read: {why}.", where=where) from error


def _resampler(own: int, rate: int) -> Any:
    try:
        import soxr
    except ImportError:
        raise DependencyError(
            f"resampling from {own} to {rate} Hz needs the package 'soxr'.",
            hint='Install it with: pip install "mquans[audio]"',
        ) from None
    return soxr.ResampleStream(own, rate, 1, dtype="float32")
