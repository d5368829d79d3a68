"""If these break, a source is taken for something else, or a wrong one hangs or fails unclearly."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mquans.errors import SourceError
from mquans.plan import InputFormat
from mquans.sources import grammar, network, open_source, video

from ...clips import write_clip

pytest.importorskip("av")

ACCEPTED = "A source is a video file"


@pytest.mark.parametrize(
    "spec",
    ["missing.mp4", "", "a\0b", "n" * 5000, "ftp://x", "file:///etc/passwd",
     "tcp://127.0.0.1:1", "-1", "99999", -1, True, 1.5, None, b"clip.mp4", object()],
    ids=lambda spec: repr(spec)[:20],
)  # fmt: skip
def test_what_is_no_source_gets_the_list_of_what_is(spec: Any) -> None:
    with pytest.raises(SourceError, match=ACCEPTED):
        open_source(spec)


@pytest.mark.parametrize("machine", ["", "localhost"])
def test_file_address_is_the_file(tmp_path: Path, clip: Path, machine: str) -> None:
    """As file managers and browsers copy it: everything but letters in hex."""
    link = tmp_path / "a clip, 100%.mkv"
    link.symlink_to(clip)
    address = link.as_uri().replace("file://", f"file://{machine}")
    assert "%20" in address
    for spec in (address, f"file://{machine}{link}"):
        with open_source(spec, InputFormat(name="x", width=48, height=32)) as source:
            assert source.length == 20


def test_file_address_of_another_machine_says_how_it_is_written() -> None:
    with pytest.raises(SourceError, match=r"of the machine 'clip.mp4'.*file:///folder/name"):
        open_source("file://clip.mp4")


def test_transport_stream_on_a_port_is_a_camera(tmp_path: Path) -> None:
    """What encoders and satellite receivers send; late pictures are dropped, silence is told."""
    path = tmp_path / "a.ts"
    pictures = [np.full((32, 48, 3), 5 * index, np.uint8) for index in range(40)]
    write_clip(path, pictures, codec="mpeg2video", pixels="yuv420p")
    data = path.read_bytes()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("127.0.0.1", 0))
        port = sender.getsockname()[1]
    over = threading.Event()

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            while True:
                for start in range(0, len(data), 1316):
                    if over.wait(0.002):
                        return
                    sender.sendto(data[start : start + 1316], ("127.0.0.1", port))

    thread = threading.Thread(target=send)
    thread.start()
    try:
        format = InputFormat(name="x", width=48, height=32)
        with open_source(f"udp://127.0.0.1:{port}", format, frames=5) as source:
            assert source.live
            assert [frame.shape for frame in source] == [(1, 3, 32, 48)] * 5
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("spec", [977, "977"])
def test_absent_camera_is_named(spec: Any) -> None:
    with pytest.raises(SourceError, match=r"no camera 977 \(/dev/video977 is absent\)"):
        open_source(spec)


def test_digits_are_a_camera_but_a_path_object_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("7").write_text("x")
    opened: list[int] = []

    def open_camera(index: int) -> video.VideoReader:
        opened.append(index)
        raise SourceError("stop")

    monkeypatch.setattr(grammar, "open_camera", open_camera)
    for spec in (7, "7"):
        with pytest.raises(SourceError, match="stop"):
            open_source(spec)
    with pytest.raises(SourceError, match="cannot be opened"):
        open_source(Path("7"))
    assert opened == [7, 7]


@pytest.fixture
def silent_server() -> Iterator[int]:
    """A port that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_port_to_which_nobody_sends_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "CAMERA_TIMEOUT_S", 0.5)
    with pytest.raises(SourceError, match=r"nothing answered within 0\.5 s"):
        open_source("udp://127.0.0.1:0")


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_network_camera_that_does_not_answer_ends_in_a_clear_error(
    silent_server: int, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setattr(network, "CAMERA_TIMEOUT_S", 0.5)
    started = time.perf_counter()
    with pytest.raises(SourceError, match=r"nothing answered within 0\.5 s") as caught:
        open_source(f"{scheme}://user:secret@127.0.0.1:{silent_server}/live")
    assert time.perf_counter() - started < 3
    assert "secret" not in str(caught.value)
    assert f"{scheme}://***@127.0.0.1:{silent_server}/live" in str(caught.value)


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_network_camera_that_refuses_the_connection_is_an_error_at_once(scheme: str) -> None:
    """Reconnecting is for cameras that were there: this may be a wrong address."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    started = time.perf_counter()
    with pytest.raises(SourceError, match="cannot be opened: Connection refused"):
        open_source(f"{scheme}://127.0.0.1:{port}/live")
    assert time.perf_counter() - started < 3


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(SourceError, match=f"{tmp_path}/missing"):
        open_source("~/missing.mp4")
