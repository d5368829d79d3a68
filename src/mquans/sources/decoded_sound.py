"""Sound of containers that libsndfile does not read, such as MP4 and Matroska, through FFmpeg."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mquans.errors import SourceError
from mquans.files import printable
from mquans.sources.mixing import Samples
from mquans.sources.pipe import Pipe
from mquans.sources.video import file_options

DECODED_SUFFIXES = frozenset(
    (".m4a", ".m4b", ".aac", ".mka", ".weba", ".wma", ".ac3", ".amr", ".3ga")
)
"""What is taken for such; where a network listens, the sound of videos is read as well."""

_GUESSES_LENGTH = frozenset(("aac", "ac3", "amr", "eac3"))
"""Formats without a header that says how long they are."""

_SLACK = 4096
"""Samples by which a whole file may be shorter than its header says: coders work in blocks, of
which some are cut at both ends."""


class DecodedSound:
    """The first sound of a container, in a file or as it comes from a pipe.

    Attributes:
        samplerate: of the file.
        frames: samples, as far as is known beforehand.
        promised: samples that a whole file has at least.
        damaged: parts were left out so far.

    Raises:
        SourceError: it cannot be opened, or holds no sound.
    """

    def __init__(self, source: Path | Pipe) -> None:
        import av

        where = printable(str(source)) if isinstance(source, Path) else source.name
        try:
            file = f"file:{source}" if isinstance(source, Path) else source
            self._container = av.open(file, "r", options=file_options())
        except (av.FFmpegError, ValueError) as error:
            why = printable(str(getattr(error, "strerror", None) or error)).rstrip(".")
            raise SourceError(f"is not sound that can be read: {why}.", where=where) from error
        stream = next(iter(self._container.streams.audio), None)
        if stream is None:
            self._container.close()
            raise SourceError("holds no sound.", where=where)
        stream.codec_context.thread_count = 1
        self.samplerate = int(stream.rate)
        duration_s = 0.0
        if stream.duration and stream.time_base:
            duration_s = float(stream.duration * stream.time_base)
        elif self._container.duration:
            duration_s = self._container.duration / 1e6
        self.frames = round(duration_s * self.samplerate)
        known = self._container.format.name not in _GUESSES_LENGTH
        self.promised = self.frames - _SLACK if known else 0
        self.damaged = False
        self._pieces = self._decoded(stream)

    def read(self) -> Samples:
        """The next samples [n, channels]; none at the end. Damaged parts are left out."""
        return next(self._pieces, np.empty((0, 1), np.float32))

    def close(self) -> None:
        self._container.close()

    def _decoded(self, stream: Any) -> Iterator[Samples]:
        import av

        planes = av.AudioResampler(format="fltp", rate=self.samplerate)
        packets = self._container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError:
                self.damaged, packet = True, None
            if packet is None:
                return
            self.damaged |= packet.is_corrupt
            try:
                frames = packet.decode()
            except av.FFmpegError:
                self.damaged = True
                continue
            for frame in frames:
                for plane in planes.resample(frame):
                    yield np.ascontiguousarray(plane.to_ndarray().T)
