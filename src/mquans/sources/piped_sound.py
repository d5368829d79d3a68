"""Sound from a pipe, as frames while it comes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

from mquans.errors import SourceError
from mquans.plan import AudioFormat
from mquans.sources.decoded_sound import DecodedSound
from mquans.sources.mixing import Samples, Sound, mono_pieces
from mquans.sources.pcm import Pcm, PcmSound, wav_sound
from mquans.sources.pipe import Pipe, PipeReader
from mquans.sources.sound import SoundReader
from mquans.sources.unreadable import Unreadable

PIPEABLE = (
    "Sound through a pipe has to be of a kind that is read from its beginning: WAV, FLAC, OGG, "
    "MP3, Matroska, or MP4 in fragments."
)


@dataclass(frozen=True, slots=True)
class _Piped:
    """A recording of which nobody knows how long it will be."""

    sound: Sound
    name: str

    def pieces(self, rate: int) -> Iterator[Samples]:
        with closing(self.sound) as sound:
            try:
                yield from mono_pieces(sound, rate, name=self.name)
            except SourceError as error:
                hint = error.hint or (PIPEABLE if isinstance(sound, DecodedSound) else None)
                raise SourceError(error.what, where=error.where, hint=hint) from error

    def length(self, rate: int) -> None:
        return None


def listen_to(pipe: Pipe, format: AudioFormat, pcm: Pcm | None) -> PipeReader:
    """Frames of what comes through a pipe, each as soon as its last sample is there.

    Args:
        pcm: how raw samples are written; without it the first bytes say what it is.

    Raises:
        SourceError: it is no sound that can be read.
    """
    sound: Sound | None = PcmSound(pipe, pcm) if pcm else wav_sound(pipe)
    if sound is None:
        try:
            sound = DecodedSound(pipe)
        except SourceError as error:
            pipe.check()
            hint = "Say how raw samples are written: --pcm s16le:16000 (pcm= in Python)."
            raise SourceError(error.what, where=error.where, hint=hint) from error
    reader = SoundReader([_Piped(sound, pipe.name)], format, Unreadable(), name=pipe.name)
    return PipeReader(reader, pipe)
