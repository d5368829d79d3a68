"""An HLS stream on this machine: segments, and a playlist that tells of some of them."""

from __future__ import annotations

import functools
import threading
from fractions import Fraction
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np

PICTURES = 10
"""Of a segment, which lasts a second."""


class PlaylistServer:
    """Serves a folder. Picture `p` of segment `s` is gray: 20 * (s + 1) + p."""

    def __init__(self, folder: Path, segments: int = 6) -> None:
        self._folder = folder
        self.port = 0
        for number in range(segments):
            _write_segment(folder / f"{number}.ts", number)
        self.switch_on()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/live.m3u8"

    def list(self, first: int, behind: int, *, ended: bool) -> None:
        """Tell of segments `first` to `behind` - 1, and whether these are the last."""
        lines = [
            "#EXTM3U",
            "#EXT-X-VERSION:3",
            "#EXT-X-TARGETDURATION:1",
            f"#EXT-X-MEDIA-SEQUENCE:{first}",
        ]
        for number in range(first, behind):
            lines += ["#EXTINF:1.0,", f"{number}.ts"]
        lines += ["#EXT-X-ENDLIST"] * ended
        new = self._folder / "new"
        new.write_text("\n".join(lines) + "\n")
        new.replace(self._folder / "live.m3u8")  # never half of it

    def switch_on(self) -> None:
        """On the port that it had before."""
        handler = functools.partial(_QuietHandler, directory=str(self._folder))
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def switch_off(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def _write_segment(path: Path, number: int) -> None:
    with av.open(str(path), "w", format="mpegts") as container:
        stream = container.add_stream("mpeg2video", rate=PICTURES)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for index in range(PICTURES):
            picture = np.full((32, 48, 3), 20 * (number + 1) + index, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number * PICTURES + index, Fraction(1, PICTURES)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
