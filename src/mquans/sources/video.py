"""Video files and local cameras, decoded by FFmpeg through PyAV."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from mquans.errors import SourceError
from mquans.files import printable
from mquans.sources.deinterlacing import Deinterlacer
from mquans.sources.preparation import WITH_PROFILES, without_profile
from mquans.sources.seams import Seams
from mquans.sources.selection import Selection
from mquans.sources.warning import SourceWarning

if TYPE_CHECKING:
    import av
    from av.video.stream import VideoStream

    from mquans.sources.pipe import Pipe

CAMERA_TIMEOUT_S = 5.0
"""How long a camera may take to answer, and to send the next data."""

PIPEABLE = (
    "Video through a pipe has to be of a kind that is read from its beginning: MPEG-TS, Matroska, "
    "MJPEG, or MP4 in fragments."
)

# What FFmpeg would open but no user means: lists of other addresses, which a stranger's file could
# point anywhere or let wait for minutes, and text, which it draws as a terminal would.
_REFUSED_FORMATS = frozenset(
    ("hls", "applehttp", "dash", "webm_dash_manifest", "concat", "imf", "sdp", "rtsp", "rtp", "sap",
     "tty", "lavfi")
)  # fmt: skip


class VideoReader:
    """The first video stream of a container, decoded on one thread.

    One thread, because the network runs on the others: decoding in the background would falsify
    every measurement beside it.

    Attributes:
        live: of a camera; it goes on without end, and is to be read as a `LiveReader`.
        playlist: an HLS playlist, live until it is finished.

    Args:
        live: whether it is of a camera; None if it is unless it says how long it is.
        timeout_s: to answer.
        silence_s: to send the next data; by default as long.
    """

    def __init__(
        self,
        url: str | Pipe,
        *,
        name: str,
        live: bool | None,
        format: str | None = None,
        options: dict[str, str] | None = None,
        timeout_s: float | None = None,
        silence_s: float | None = None,
    ) -> None:
        import av

        self.name = name
        self._silence_s = timeout_s if silence_s is None else silence_s
        started_s = time.monotonic()
        try:
            self._container = av.open(
                url,
                "r",
                format=format,
                options=options or {},
                timeout=(timeout_s, self._silence_s),
            )
        except (av.FFmpegError, ValueError) as error:
            # The RTSP reader reports its own interruption as damaged data.
            if _passed(timeout_s, started_s):
                message = f"nothing answered within {timeout_s:g} s."
                raise SourceError(message, where=name) from error
            raise SourceError(f"cannot be opened: {_why(error)}", where=name) from error
        self.playlist = self._container.format.name == "hls"
        try:
            self._stream: VideoStream = self._best() if self.playlist else self._first()
        except SourceError:
            self._container.close()
            raise
        self._stream.codec_context.thread_count = 1
        self._reformatter = av.video.reformatter.VideoReformatter()
        if self._stream.codec_context.name == "mjpeg" and format is None:
            # Left to itself, the decoder fills what is missing with gray and tells nobody. Of
            # webcams even whole pictures have errors.
            self._stream.codec_context.options = {"err_detect": "explode"}
        self.live = not self._duration_s() if live is None else live
        self.total = None if self.live else self._declared_frames()

    def frames(self, selection: Selection) -> Iterator[av.VideoFrame]:
        """Decoded frames in the order they are shown.

        A damaged part is left out; at the end of the clip a `SourceWarning` tells of it.

        Raises:
            SourceError: a live stream breaks off, ends or falls silent.
        """
        return selection.apply(self._decode())

    def close(self) -> None:
        self._container.close()

    def _decode(self) -> Iterator[av.VideoFrame]:
        import av

        decoded = damaged = patched = 0
        seams = Seams()
        whole = Deinterlacer()
        reached_s = 0.0
        broken_by: Exception | None = None
        packets = self._container.demux(self._stream)
        while True:
            asked_s = time.monotonic()
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                broken_by, packet = error, None
            # The RTSP reader reports its own interruption as the end, or gives half a picture.
            silent = _passed(self._silence_s, asked_s)
            if packet is None or silent:
                break
            seams.meet(marked=packet.is_corrupt, keyframe=packet.is_keyframe)
            if packet.pts is not None and packet.time_base is not None:
                reached_s = max(
                    reached_s, float((packet.pts + (packet.duration or 0)) * packet.time_base)
                )
            try:
                frames = packet.decode()
            except av.FFmpegError:
                damaged += 1
                continue
            for frame in frames:
                decoded += 1
                patched += frame.is_corrupt
                yield from whole.push(self._readable(frame))
        yield from whole.finish()
        if self.live:
            if silent:
                what = f"sent nothing for {self._silence_s:g} s, after {decoded} frames."
            elif broken_by is not None:
                what = f"the stream broke off after {decoded} frames: {_why(broken_by)}"
            else:
                what = f"the stream ended after {decoded} frames."
            raise SourceError(what, where=self.name)
        cut_off = broken_by is not None or reached_s < self._expected_s()
        # Packets of a playlist are numbered anew in every segment.
        damaged += 0 if self.playlist else seams.gaps
        if decoded and (damaged or cut_off or patched):
            declared = f" of about {self.total}" if self.total and decoded < self.total else ""
            guessed = f", {patched} of them partly guessed by the decoder" if patched else ""
            warnings.warn(
                f"{self.name} is damaged or cut off; {decoded}{declared} frames could be read"
                f"{guessed}.",
                SourceWarning,
                stacklevel=2,
            )

    def _readable(self, frame: av.VideoFrame) -> av.VideoFrame:
        if self._stream.codec_context.name not in WITH_PROFILES:
            return frame
        return without_profile(frame, self._reformatter)

    def _first(self) -> VideoStream:
        import av

        streams = self._container.streams.video
        if not streams:
            raise SourceError("holds no video.", where=self.name)
        # Recordings of sound have covers, and some videos a preview in front.
        cover = av.stream.Disposition.attached_pic
        shown = [each for each in streams if not each.disposition & cover]
        if not shown:
            raise SourceError("holds no video but a cover picture.", where=self.name)
        # Streams of codings that FFmpeg has no decoder for have no context.
        readable = [each for each in shown if each.codec_context is not None]
        if not readable:
            raise SourceError("is in a coding that is not read.", where=self.name)
        default = av.stream.Disposition.default
        stream = next((each for each in readable if each.disposition & default), readable[0])
        if stream.disposition & av.stream.Disposition.dependent:
            raise SourceError(
                f"is a picture in {len(streams)} tiles, which are not put together.",
                where=self.name,
                hint="Telephones write HEIF so: convert it to JPEG or PNG.",
            )
        return stream

    def _best(self) -> VideoStream:
        """Of the sizes in which a playlist may offer the same; the others are not fetched."""
        import av

        best = self._container.streams.best("video")
        for other in self._container.streams:
            if other is not best:
                other.discard = av.stream.Discard.all
        return cast("VideoStream", best)

    def _declared_frames(self) -> int | None:
        """Number of frames as the container states it, or as its duration suggests."""
        if self._stream.frames > 0:
            return int(self._stream.frames)
        duration_s, rate = self._duration_s(), self._stream.average_rate
        return round(duration_s * float(rate)) or None if duration_s and rate else None

    def _duration_s(self) -> float:
        """Duration of the stream as declared; 0 when unknown."""
        if self._stream.duration and self._stream.time_base:
            return float(self._stream.duration * self._stream.time_base)
        # The container's duration is that of its longest stream, which may be sound. A playlist has
        # one only once it is finished.
        if self._container.duration and (self.playlist or len(self._container.streams) == 1):
            return self._container.duration / 1e6
        return 0.0

    def _expected_s(self) -> float:
        """Time that the packets of a whole clip reach at least. A few frames are conceded to
        writers that count from the first frame or leave out the duration of the last one."""
        rate = self._stream.average_rate
        begin_s = (self._container.start_time or 0) / 1e6 if self.playlist else 0.0
        return begin_s + self._duration_s() - (3 / float(rate) if rate else 0.5)


def open_video_file(path: Path) -> VideoReader:
    """A reader of a video file.

    Raises:
        SourceError: not a video, or unreadable.
    """
    # The prefix keeps names such as `concat:a|b` from being read as FFmpeg protocols.
    return VideoReader(
        f"file:{path}",
        name=printable(str(path)),
        live=False,
        options=file_options(),
    )


def open_piped_video(pipe: Pipe) -> VideoReader:
    """A reader of video, or of pictures one behind the other, that come through a pipe.

    Raises:
        SourceError: it is neither.
    """
    try:
        return VideoReader(pipe, name=pipe.name, live=False, options=file_options())
    except SourceError as error:
        raise SourceError(error.what, where=error.where, hint=PIPEABLE) from error


def open_camera(index: int) -> VideoReader:
    """A reader of a camera of this machine, by its index in /dev/video*.

    Raises:
        SourceError: no such camera, or it is busy.
    """
    device = Path(f"/dev/video{index}")
    if not device.exists():
        present = sorted(path.name for path in Path("/dev").glob("video[0-9]*"))
        raise SourceError(
            f"there is no camera {index} ({device} is absent).",
            hint=f"Present: {', '.join(present)}." if present else "No camera was found.",
        )
    return VideoReader(
        str(device), name=f"camera {index}", live=True, format="v4l2", timeout_s=CAMERA_TIMEOUT_S
    )


def file_options() -> dict[str, str]:
    """Of FFmpeg, for what lies here and may lead nowhere else."""
    return {"protocol_whitelist": "file", "format_whitelist": allowed_formats()}


def allowed_formats() -> str:
    """Formats that a file may have, as FFmpeg's option takes them."""
    import av

    allowed = [
        name for name in av.formats_available if _REFUSED_FORMATS.isdisjoint(name.split(","))
    ]
    return ",".join(sorted(allowed))


def _passed(limit_s: float | None, since_s: float) -> bool:
    return limit_s is not None and time.monotonic() - since_s >= limit_s


def _why(error: Any) -> str:
    text = printable(str(getattr(error, "strerror", None) or error))
    return f"{text.rstrip('.')}."
