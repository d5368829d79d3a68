"""A camera that speaks RTSP, by GStreamer's server; run by the system's Python, which has its
binding: `/usr/bin/python3 tests/drills/rtsp_camera.py PORT FPS`. `/sub` is what most cameras send;
`/KIND` others, each with and without sound (`/KIND-sound`)."""

from __future__ import annotations

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

PICTURES = (
    "videotestsrc is-live=true pattern=ball "
    "! video/x-raw,format=I420,width=320,height=240,framerate={fps}/1 "
)
KINDS = {
    "sub": "! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=5 "
    "! rtph264pay name=pay0 pt=96 config-interval=1 ",
    "long": "! x264enc bframes=2 key-int-max={fps} ! rtph264pay name=pay0 pt=96 ",
    "h265": "! x265enc tune=zerolatency speed-preset=ultrafast key-int-max=5 "
    "! rtph265pay name=pay0 pt=96 config-interval=1 ",
    "mjpeg": "! jpegenc ! rtpjpegpay name=pay0 pt=26 ",
}
SOUND = (
    "audiotestsrc is-live=true ! audio/x-raw,rate=8000,channels=1 ! alawenc ! rtppcmapay name=pay1 "
)


def main(port: str, fps: str) -> None:
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    for kind, encoded in KINDS.items():
        for name, sound in ((kind, ""), (f"{kind}-sound", SOUND)):
            factory = GstRtspServer.RTSPMediaFactory()
            factory.set_launch(f"( {(PICTURES + encoded).format(fps=fps)} {sound} )")
            factory.set_shared(True)
            server.get_mount_points().add_factory(f"/{name}", factory)
    server.attach(None)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(*sys.argv[1:])
