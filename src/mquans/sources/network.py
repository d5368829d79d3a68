"""Cameras and clips in the network, by their addresses."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit

from mquans.errors import SourceError
from mquans.files import printable
from mquans.sources.video import CAMERA_TIMEOUT_S, VideoReader, allowed_formats

PLAYLIST_SILENCE_S = 30.0
"""How long a live playlist may stay as it is: pictures come in segments of up to ten seconds, of
which one or two may be late."""

_WEB = "http,https,tcp,tls,httpproxy"


def opener_of(url: str) -> Callable[[], VideoReader] | None:
    """What opens an address; None for kinds of addresses that are not read. Passwords in it stay
    out of names and messages.

    Raises:
        SourceError: the address is malformed; or (of what is returned) nothing answers within
            `CAMERA_TIMEOUT_S`, access is refused, or what answers is no video.
    """
    scheme = url.partition("://")[0].lower()
    # Names with spaces are no addresses, but people copy them from browsers that show them so.
    address = url.strip().replace(" ", "%20")
    try:
        path = urlsplit(address).path
    except ValueError as error:  # such as a bracket that is left open
        raise SourceError(f"is no address: {error}.", where=_without_password(url)) from error
    if scheme in ("rtsp", "rtsps"):
        return lambda: _open_rtsp(address)
    if scheme == "udp":
        return lambda: _open_udp(address)
    if scheme in ("http", "https"):
        playlist = path.lower().endswith(".m3u8")
        return lambda: _open_playlist(address) if playlist else _open_web(address)
    return None


def _open_rtsp(url: str) -> VideoReader:
    return VideoReader(
        url,
        name=_without_password(url),
        live=True,
        # Over UDP, FFmpeg's default, lost packets smear over the picture until the next key frame.
        # What streams there are is in the answer; to find out more about them takes a second or
        # two, and the decoder learns the size of the picture by itself.
        options={"rtsp_transport": "tcp", "probesize": "32"},
        timeout_s=CAMERA_TIMEOUT_S,
    )


def _open_udp(url: str) -> VideoReader:
    """An MPEG transport stream that somebody sends to a port of this machine, or to a group."""
    return VideoReader(
        url,
        name=_without_password(url),
        live=True,
        format="mpegts",
        options={"protocol_whitelist": "udp", "fpsprobesize": "0"},
        timeout_s=CAMERA_TIMEOUT_S,
    )


def _open_web(url: str) -> VideoReader:
    """A camera that sends MJPEG, or another endless stream; or a clip."""
    return VideoReader(
        url,
        name=_without_password(url),
        live=None,
        options={"protocol_whitelist": _WEB, "format_whitelist": allowed_formats()},
        timeout_s=CAMERA_TIMEOUT_S,
    )


def _open_playlist(url: str) -> VideoReader:
    """An HLS playlist, live or finished; what it lists is fetched by HTTP only."""
    return VideoReader(
        url,
        name=_without_password(url),
        live=None,
        options={
            "protocol_whitelist": f"{_WEB},crypto",
            "format_whitelist": f"{allowed_formats()},hls",
            # More pictures than the first segment has would be waited for.
            "fpsprobesize": "3",
        },
        timeout_s=CAMERA_TIMEOUT_S,
        silence_s=PLAYLIST_SILENCE_S,
    )


def _without_password(url: str) -> str:
    return printable(re.sub(r"://[^/]*@", "://***@", url))
