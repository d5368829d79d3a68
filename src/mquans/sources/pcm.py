"""Samples without a container, as sound cards give them, and the WAV header in front of such."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from mquans.errors import SourceError
from mquans.sources.mixing import Samples
from mquans.sources.pipe import Pipe
from mquans.sources.warning import SourceWarning

ENCODINGS = {
    "u8": 1, "s8": 1, "s16le": 2, "s16be": 2, "s24le": 3, "s24be": 3, "s32le": 4, "s32be": 4,
    "f32le": 4, "f32be": 4, "f64le": 8, "f64be": 8, "alaw": 1, "mulaw": 1,
}  # fmt: skip
"""Bytes of a sample by FFmpeg's name of it: signed, unsigned or float, bits, byte order."""

_PIECE_BYTES = 1 << 16

_OF_WAV = {
    (1, 8): "u8", (1, 16): "s16le", (1, 24): "s24le", (1, 32): "s32le",
    (3, 32): "f32le", (3, 64): "f64le", (6, 8): "alaw", (7, 8): "mulaw",
}  # fmt: skip
"""By the header's format and bits of a sample."""

_EXTENSIBLE = 0xFFFE
_LONGEST_HEADER = 1 << 20

_UNKNOWN_LENGTH = 0x7FFF_0000
"""From here on a length is what writers into a pipe put where they cannot know it."""


@dataclass(frozen=True, slots=True)
class Pcm:
    """How samples are written, one channel after the other."""

    encoding: str
    rate: int
    channels: int = 1


class PcmSound:
    """Samples from a pipe, handed on as they come.

    Args:
        promised_bytes: how many there are, or None; what lies behind is no sound.

    Attributes:
        samplerate: samples per second.
    """

    def __init__(self, pipe: Pipe, pcm: Pcm, promised_bytes: int | None = None) -> None:
        import av

        self.samplerate = pcm.rate
        self._pipe = pipe
        self._left_bytes = promised_bytes
        self._begun = b""
        self._step_bytes = ENCODINGS[pcm.encoding] * pcm.channels
        layout = {1: "mono", 2: "stereo"}.get(pcm.channels, f"{pcm.channels} channels")
        decoder: Any = av.CodecContext.create(f"pcm_{pcm.encoding}", "r")
        decoder.sample_rate, decoder.layout = pcm.rate, layout
        self._decoder = decoder
        self._floats = av.AudioResampler(format="flt", layout=layout, rate=pcm.rate)
        self._channels = pcm.channels

    def read(self) -> Samples:
        """The next samples [n, channels], at least one; none at the end."""
        import av

        while True:
            wanted = _PIECE_BYTES if self._left_bytes is None else self._left_bytes
            came = self._pipe.read(min(wanted, _PIECE_BYTES)) if wanted else b""
            if self._left_bytes is not None:
                self._left_bytes -= len(came)
            if not came:
                self._tell_of_rest()
                return np.empty((0, self._channels), np.float32)
            data = self._begun + came
            whole = len(data) - len(data) % self._step_bytes
            self._begun = data[whole:]
            if whole:
                pieces = [
                    floats.to_ndarray().reshape(-1, self._channels)
                    for decoded in self._decoder.decode(av.Packet(data[:whole]))
                    for floats in self._floats.resample(decoded)
                ]
                return np.concatenate(pieces)

    def close(self) -> None:
        """Nothing: the pipe is closed by who opened it."""

    def _tell_of_rest(self) -> None:
        missing = f"{self._left_bytes} bytes before its end" if self._left_bytes else ""
        if self._begun:
            missing = f"in the middle of a sample: the last {len(self._begun)} bytes are left out"
        if missing:
            warnings.warn(f"{self._pipe.name} broke off {missing}.", SourceWarning, stacklevel=2)


def parse_pcm(text: str) -> Pcm:
    """`ENCODING:RATE[:CHANNELS]`, such as `s16le:16000` or `f32le:48000:2`.

    Raises:
        SourceError: it is no such thing.
    """
    match = re.fullmatch(r"(\w+):([1-9][0-9]{0,6})(?::([1-9][0-9]?))?", text)
    if match is None or match[1] not in ENCODINGS:
        raise SourceError(
            f"--pcm {text!r} does not say how samples are written.",
            hint="Write it ENCODING:RATE[:CHANNELS], such as s16le:16000:1, with one of "
            f"{', '.join(ENCODINGS)}.",
        )
    return Pcm(match[1], int(match[2]), int(match[3] or 1))


def wav_sound(pipe: Pipe) -> PcmSound | None:
    """The sound of a WAV stream, handed on as it comes. FFmpeg would wait for 64 KiB first, which
    are four seconds of a telephone.

    Returns:
        None, with the pipe as it was, if it is no WAV stream or one of coded sound.
    """
    head = pipe.exactly(12)
    format: Pcm | None = None
    if head[:4] == b"RIFF" and head[8:] == b"WAVE":
        while len(head) < _LONGEST_HEADER:
            head += (chunk := pipe.exactly(8))
            length = int.from_bytes(chunk[4:], "little")
            if len(chunk) < 8:
                break
            if chunk[:4] == b"data":
                if format is None:
                    break
                known = 0 < length < _UNKNOWN_LENGTH
                return PcmSound(pipe, format, length if known else None)
            head += (content := pipe.exactly(min(length + length % 2, _LONGEST_HEADER)))
            if chunk[:4] == b"fmt ":
                format = _wav_format(content)
    pipe.unread(head)
    return None


def _wav_format(content: bytes) -> Pcm | None:
    kind, channels, rate, bits = (
        int.from_bytes(content[start:stop], "little")
        for start, stop in ((0, 2), (2, 4), (4, 8), (14, 16))
    )
    if kind == _EXTENSIBLE:
        kind = int.from_bytes(content[24:26], "little")
    encoding = _OF_WAV.get((kind, bits))
    return Pcm(encoding, rate, channels) if encoding and 0 < channels < 100 and rate else None
