"""If these break, a source is taken for something else, or a wrong one hangs or fails unclearly."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mquans.errors import SourceError
from mquans.sources import grammar, open_source, video

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


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_network_camera_that_does_not_answer_ends_in_a_clear_error(
    silent_server: int, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    monkeypatch.setattr(video, "NETWORK_TIMEOUT_S", 0.5)
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
