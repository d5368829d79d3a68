"""If these break, what is piped cannot be watched, or Ctrl-C does not end it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mquans.errors import SourceError
from mquans.plan import AudioFormat, InputFormat
from mquans.sources import SourceWarning, open_source

from ...clips import Picture, write_clip
from ...sender import Sender

LISTENS = AudioFormat(name="x", shape=(1, 100), rate=8000, window=100, hop=100)
WATCHES = InputFormat(name="x", width=48, height=32)


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [("a.ts", "mpeg2video", "yuv420p"), ("a.mkv", "ffv1", "bgr0"), ("a.mjpeg", "mjpeg", "yuvj444p"),
     ("a.y4m", "wrapped_avframe", "yuv444p"), ("a.avi", "mpeg4", "yuv420p")],
)  # fmt: skip
def test_video_is_watched_as_from_a_file(
    sender: Sender, tmp_path: Path, smooth: list[Picture], name: str, codec: str, pixels: str
) -> None:
    """None of its pictures is dropped: whoever sends waits."""
    path = write_clip(tmp_path / name, smooth, codec=codec, pixels=pixels)
    wanted = list(open_source(path, WATCHES))
    sender.send(path.read_bytes())
    sender.end()
    with open_source(sender.path, WATCHES) as source:
        assert source.live
        np.testing.assert_array_equal(list(source), wanted)


def test_pictures_one_behind_the_other_are_watched(sender: Sender, folder: Path) -> None:
    """`cat *.png`, or what a camera's driver writes."""
    for number in range(5):
        sender.send((folder / f"{number}.png").read_bytes())
    sender.end()
    with open_source(sender.path, WATCHES) as source:
        found = list(source)
    wanted = list(open_source(folder, WATCHES, frames=5))
    np.testing.assert_array_equal(found, wanted)


def test_windows_of_piped_pictures(sender: Sender, clip: Path) -> None:
    format = InputFormat(name="x", width=48, height=32, layout="ncthw", window=3)
    sender.send(clip.read_bytes())
    sender.end()
    with open_source(sender.path, format) as source:
        assert [frame.shape for frame in source] == [(1, 3, 3, 32, 48)] * 18


def test_video_that_breaks_off_in_the_middle_of_a_picture_gives_what_came(
    sender: Sender, clip: Path
) -> None:
    data = clip.read_bytes()
    sender.send(data[: 2 * len(data) // 3])
    sender.end()
    with (
        open_source(sender.path, WATCHES) as source,
        pytest.warns(SourceWarning, match=r"pipe is damaged or cut off; 1\d"),
    ):
        assert 10 <= len(list(source)) <= 14


def test_video_that_has_its_index_at_the_end_says_what_can_be_piped(
    sender: Sender, tmp_path: Path, pictures: list[Picture]
) -> None:
    path = write_clip(tmp_path / "a.mp4", pictures * 10, codec="mpeg4", pixels="yuv420p")
    sender.send(path.read_bytes())
    sender.end()
    with pytest.raises(SourceError, match=r"pipe: .*MPEG-TS, Matroska"):
        list(open_source(sender.path, WATCHES))


def test_signal_ends_a_stream_of_which_nothing_comes(sender: Sender) -> None:
    """The last hop is filled up, as at any end."""
    sender.send(np.arange(150, dtype="<i2").tobytes())
    with open_source(sender.path, LISTENS, pcm="s16le:8000") as source:
        next(source)
        threading.Timer(0.1, source.end).start()
        frames = list(source)
    assert len(frames) == 1
    np.testing.assert_array_equal(frames[0]["x"][0, :50] * 32768, np.arange(100, 150))


@pytest.mark.filterwarnings("ignore::mquans.sources.SourceWarning")
@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("format", [LISTENS, WATCHES])
def test_ctrl_c_in_a_read_is_not_swallowed(
    sender: Sender, clip: Path, format: Any, begun: bool
) -> None:
    """The decoder passes no exception on; the program would go on as if the stream had ended."""
    data = clip.read_bytes() if format is WATCHES else flac()
    sender.send(data[: len(data) // 2 if begun else 20])

    def interrupted() -> None:
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        with open_source(sender.path, format) as source:
            list(source)

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    sender.end()


def flac() -> bytes:
    soundfile = pytest.importorskip("soundfile")
    file = BytesIO()
    soundfile.write(file, np.random.default_rng(0).uniform(-0.5, 0.5, 120000), 8000, format="FLAC")
    return file.getvalue()


def test_closing_twice_closes_no_other_file(sender: Sender, tmp_path: Path) -> None:
    sender.send(bytes(200))
    source = open_source(sender.path, LISTENS, pcm="s16le:8000")
    source.close()
    with (tmp_path / "another").open("w") as another:  # of the number that became free
        source.close()
        another.write("still open")


def test_file_behind_a_pipe_can_be_read_from_its_end(
    tmp_path: Path, smooth: list[Picture], stdin: Callable[[Path], None]
) -> None:
    """`mquans run ... --source - < clip.mp4`."""
    path = write_clip(tmp_path / "a.mp4", smooth, codec="mpeg4", pixels="yuv420p")
    stdin(path)
    with open_source("-", WATCHES) as source:
        assert source.name == "standard input"
        assert len(list(source)) == 12


@pytest.fixture
def stdin() -> Iterator[Callable[[Path], None]]:
    """Puts a file into the place of standard input."""
    kept = os.dup(0)

    def put(path: Path) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        os.dup2(descriptor, 0)
        os.close(descriptor)

    yield put
    os.dup2(kept, 0)
    os.close(kept)


def test_terminal_is_no_source(stdin: Callable[[Path], None]) -> None:
    """It would wait for somebody to type a video."""
    leader, follower = os.openpty()
    stdin(Path(os.ttyname(follower)))
    for spec in ("-", "/dev/stdin"):
        with pytest.raises(SourceError, match=r"standard input: is a terminal.*arecord"):
            open_source(spec, LISTENS)
    os.close(leader)
    os.close(follower)


def test_empty_standard_input_is_named(stdin: Callable[[Path], None]) -> None:
    stdin(Path("/dev/null"))
    with pytest.raises(SourceError, match="standard input: is empty"):
        open_source("-", LISTENS)
