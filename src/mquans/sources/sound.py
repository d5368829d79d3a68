"""Recordings as frames: one after the other, each a stream of its own; and sound files."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

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
from mquans.sources.mixing import Samples, Sound, mono_pieces
from mquans.sources.selection import Selection
from mquans.sources.unreadable import Unreadable
from mquans.sources.warning import SourceWarning

_LIBSNDFILE_SUFFIXES = frozenset(
    (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".w64", ".rf64", ".caf",
     ".au")
)  # fmt: skip
AUDIO_SUFFIXES = _LIBSNDFILE_SUFFIXES | DECODED_SUFFIXES

READ_SAMPLES = 1 << 8
"""At once: of what is read together with damaged blocks, libsndfile gives nothing."""


class Recording(Protocol):
    """Sound from a beginning to an end."""

    def pieces(self, rate: int) -> Iterator[Samples]:
        """Samples [n] at a rate, mono, piece by piece.

        Raises:
            SourceError: it cannot be read, is empty, or holds NaN (named).
        """

    def length(self, rate: int) -> int | None:
        """Samples at a rate, if known.

        Raises:
            SourceError: it cannot be read.
        """


class SoundReader:
    """Frames of recordings, in the order given. Memory does not grow with their length.

    Args:
        unreadable: meets recordings that cannot be read, or not to their end.
    """

    def __init__(
        self,
        recordings: Sequence[Recording],
        format: AudioFormat,
        unreadable: Unreadable,
        *,
        name: str,
    ) -> None:
        self.name = name
        self._recordings = recordings
        self._unreadable = unreadable
        self._format = format
        self._frames = AudioFrames(format)
        totals = list(map(self._count, recordings))
        self.total = None if None in totals else sum(total or 0 for total in totals)

    def frames(self, selection: Selection) -> Iterator[Timed]:
        """The network's input by name; the first frame of every recording is a `FirstFrame`, also
        when frames before it were left out.

        A file that breaks off gives what it holds, then warns with `SourceWarning`.

        Raises:
            SourceError: as `unreadable`; a recording cannot be read, is empty, or holds NaN.
        """
        playing = None
        for recording, frame, time_s in selection.apply(self._every_frame()):
            feeds = {self._format.name: frame}
            yield Timed(feeds if recording == playing else FirstFrame(feeds), time_s)
            playing = recording
        self._unreadable.tell(self.name, len(self._recordings))

    def close(self) -> None:
        self._recordings = ()

    def _every_frame(self) -> Iterator[tuple[int, Tensor, float]]:
        for number, recording in enumerate(self._recordings):
            try:
                pieces = recording.pieces(self._format.rate)
                for frame, time_s in whole_recording(self._frames, pieces):
                    yield number, frame, time_s
            except SourceError as error:
                self._unreadable.meet(error)

    def _count(self, recording: Recording) -> int | None:
        try:
            length = recording.length(self._format.rate)
        except SourceError:
            if not self._unreadable.skips:
                raise
            return 0  # met when it is its turn
        return None if length is None else count_frames(self._format, length)


@dataclass(frozen=True, slots=True)
class SoundFile:
    """A recording in a file."""

    path: Path

    def pieces(self, rate: int) -> Iterator[Samples]:
        name = printable(str(self.path))
        with closing(_open(self.path)) as sound:
            heard = yield from mono_pieces(sound, rate, name=name)
        if sound.damaged or heard < sound.promised or _cut_off(self.path):
            warnings.warn(
                f"{name} is damaged or cut off; {heard / sound.samplerate:.2f} s could be read.",
                SourceWarning,
                stacklevel=2,
            )

    def length(self, rate: int) -> int:
        with closing(_open(self.path)) as sound:
            return round(sound.frames * rate / sound.samplerate)


def read_sound(path: str | Path, rate: int | None = None) -> tuple[Samples, int]:
    """A whole sound file, mono, and its rate.

    Args:
        rate: to resample to; None for the file's own.

    Returns:
        float32 [samples] from -1 to 1, and samples per second.

    Raises:
        SourceError: it cannot be read, is empty, or holds NaN; the rate is none.
        DependencyError: the extra `audio` is not installed.
    """
    file = Path(path)
    if rate is not None and rate < 1:
        raise SourceError(f"the rate must be at least 1 sample per second, not {rate}.")
    if rate is None:
        with closing(_open(file)) as sound:
            rate = sound.samplerate
    return np.concatenate(list(SoundFile(file).pieces(rate))), rate


class _FileSound(Sound, Protocol):
    """Sound that says how long it is.

    Attributes:
        frames: samples, as far as is known beforehand.
        promised: samples that a whole file has at least.
        damaged: parts were left out so far.
    """

    frames: int
    promised: int
    damaged: bool


class _LibsndfileSound:
    """What libsndfile reads."""

    def __init__(self, file: Any) -> None:
        self.samplerate = int(file.samplerate)
        self.frames = self.promised = int(file.frames)
        self._file = file
        self.damaged = self._ended = False

    def read(self) -> Samples:
        import soundfile

        parts = [np.empty((0, self._file.channels), np.float32)]
        while not self._ended and len(parts) <= PIECE_SAMPLES // READ_SAMPLES:
            try:
                part: Samples = self._file.read(READ_SAMPLES, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError:
                # Damaged in the middle: what came before counts, and a warning tells of it.
                self.damaged = self._ended = True
            else:
                self._ended = not len(part)
                parts.append(part)
        return np.concatenate(parts)

    def close(self) -> None:
        self._file.close()


def _cut_off(path: Path) -> bool:
    """Does a WAV file's header promise more than there is? libsndfile reads what there is."""
    with path.open("rb") as file:
        head = file.read(12)
        size = file.seek(0, 2)
    declared = int.from_bytes(head[4:8], "little") + 8
    # Programs that write into a pipe cannot know the length and leave the largest or nothing.
    known = 8 < declared < 0xFFFFFFFF
    return head[:4] == b"RIFF" and head[8:] == b"WAVE" and known and declared > size + 1


def _open(path: Path) -> _FileSound:
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
        return _LibsndfileSound(soundfile.SoundFile(str(path)))
    except OSError as error:
        raise SourceError(f"cannot be read: {reason(error)}", where=where) from error
    except soundfile.LibsndfileError as error:
        try:
            return DecodedSound(path)  # such as MP4 under another name, or a rare codec
        except SourceError:
            why = printable(str(error.error_string)).rstrip(".")
            raise SourceError(f"is not sound that can be read: {why}.", where=where) from error
