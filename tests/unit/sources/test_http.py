"""If these break, cameras and clips behind a web address cannot be watched, or are mixed up."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from mquans.errors import SourceError
from mquans.plan import InputFormat
from mquans.sources import network, open_source

from ...clips import Picture, write_clip
from ...mjpeg_camera import MjpegCamera

FORMAT = InputFormat(name="x", width=48, height=32)


@pytest.fixture
def camera() -> Iterator[MjpegCamera]:
    camera = MjpegCamera()
    yield camera
    camera.switch_off()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """The address of a folder."""
    handler = functools.partial(QuietHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_mjpeg_camera_is_live_and_its_frames_have_times(camera: MjpegCamera) -> None:
    with open_source(camera.url, FORMAT, frames=4) as source:
        assert (source.live, source.length) == (True, None)
        times = []
        for frame in source:
            assert frame.shape == (1, 3, 32, 48)
            assert frame.min() < 70
            assert frame.max() > 200
            times.append(source.time_s)
    assert None not in times
    assert times == sorted(times)


def test_silence_is_told_in_seconds(camera: MjpegCamera, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "CAMERA_TIMEOUT_S", 1.5)
    with open_source(camera.url, FORMAT, reconnect=False) as source:
        next(source)
        camera.silent.set()
        with pytest.raises(SourceError, match=r"sent nothing for 1\.5 s, after \d+ frames"):
            list(source)


@pytest.mark.filterwarnings("ignore::mquans.sources.SourceWarning")
def test_windows_of_pictures_go_on_after_a_gap(camera: MjpegCamera) -> None:
    format = InputFormat(name="x", width=48, height=32, layout="ncthw", window=3)
    with open_source(camera.url, format) as source:
        next(source)
        camera.switch_off()
        camera.switch_on()
        for _ in range(5):  # at most one of them was there before
            assert next(source).shape == (1, 3, 3, 32, 48)


def test_clip_behind_a_web_address_is_read_whole(
    web: str, tmp_path: Path, smooth: list[Picture]
) -> None:
    """It says how long it is, so none of its frames may be dropped and its end is no error."""
    write_clip(tmp_path / "a.mp4", smooth, codec="mpeg4", pixels="yuv420p")
    with open_source(f"{web}/a.mp4", FORMAT) as source:
        assert (source.live, source.length) == (False, 12)
        frames = list(source)
        assert source.time_s == pytest.approx(1.1)
    here = list(open_source(tmp_path / "a.mp4", FORMAT))
    np.testing.assert_array_equal(frames, here)


@pytest.mark.parametrize("name", ["none.mp4", "a.html", "a.m3u8"])
def test_what_is_no_video_there_is_an_error(web: str, tmp_path: Path, name: str) -> None:
    """Playlists among them, which could lead anywhere."""
    (tmp_path / "a.html").write_text("<html>no video</html>")
    (tmp_path / "a.m3u8").write_text("#EXTM3U\n#EXTINF:1,\nhttp://192.0.2.1/a.ts\n")
    with pytest.raises(SourceError, match=f"/{name}: (cannot be opened|holds no video)"):
        open_source(f"{web}/{name}", FORMAT)
