"""If these break, clips are decoded in wrong colours or damaged ones fail in a confusing way."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from mquans.errors import SourceError
from mquans.plan import InputFormat
from mquans.sources import SourceWarning, open_source

from ...clips import write_clip

av = pytest.importorskip("av")

pytest.importorskip("av")

Picture = npt.NDArray[np.uint8]
EXACT = InputFormat(name="x", width=48, height=32, layout="nhwc")
SMALL = InputFormat(name="x", width=32, height=24, layout="nhwc")


def test_lossless_clip_gives_its_exact_pixels(clip: Path, pictures: list[Picture]) -> None:
    frames = np.concatenate(list(open_source(clip, EXACT)))
    assert np.array_equal(frames, np.stack(pictures))


def test_selection_counts_frames(clip: Path) -> None:
    source = open_source(str(clip), EXACT, skip=3, stride=5, frames=2)
    assert source.length == 2
    assert [frame[0, 0, 0].tolist() for frame in source] == [[3, 6, 9], [8, 16, 24]]


def test_length_is_known_where_the_container_tells(common_clip: Path) -> None:
    assert open_source(common_clip, SMALL).length == 120
    assert open_source(common_clip, SMALL, stride=7).length == 18


def test_skip_beyond_the_end_says_that_no_frame_came(clip: Path) -> None:
    with pytest.raises(SourceError, match="gave no frame"):
        next(open_source(clip, EXACT, skip=100))


def test_yuv_clip_has_the_right_colours_and_full_range(
    common_clip: Path, smooth: list[Picture]
) -> None:
    """Video holds 16 to 235; networks expect 0 to 255. The mean may not be off by a level."""
    frames = np.concatenate(list(open_source(common_clip, SMALL, frames=12)))
    expected = np.stack([p.reshape(24, 2, 32, 2, 3).mean(axis=(1, 3)) for p in smooth])
    assert np.abs(frames - expected).mean() < 4
    np.testing.assert_allclose(frames.mean((0, 1, 2)), expected.mean((0, 1, 2)), atol=4)


def test_pictures_are_whole_frames_with_the_same_tensors(common_clip: Path) -> None:
    tensors = list(open_source(common_clip, SMALL, frames=5))
    pairs = list(open_source(common_clip, SMALL, frames=5).pictures())
    for (picture, tensor), alone in zip(pairs, tensors, strict=True):
        assert picture.shape == (48, 64, 3)
        assert picture.dtype == np.uint8
        assert np.array_equal(tensor, alone)
        small = picture.reshape(24, 2, 32, 2, 3).mean(axis=(1, 3))
        assert np.abs(small - tensor[0]).mean() < 3


def test_frames_do_not_share_memory(common_clip: Path) -> None:
    """Calibration keeps frames in a list while decoding goes on."""
    frames = list(open_source(common_clip, SMALL, frames=3))
    copies = [frame.copy() for frame in frames]
    list(open_source(common_clip, SMALL, frames=10))
    assert all(np.array_equal(a, b) for a, b in zip(frames, copies, strict=True))
    assert not np.shares_memory(frames[0], frames[1])


def test_clip_cut_off_in_the_middle_gives_what_it_holds_and_warns(
    common_clip: Path, tmp_path: Path
) -> None:
    data = common_clip.read_bytes()
    path = tmp_path / common_clip.name
    path.write_bytes(data[: len(data) // 2])
    with pytest.warns(SourceWarning, match=r"clip\.\w+ is damaged or cut off; \d+ of about"):
        count = len(list(open_source(path, SMALL)))
    assert 20 < count < 110


def test_damage_in_the_middle_is_passed_over(common_clip: Path, tmp_path: Path) -> None:
    data = bytearray(common_clip.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = np.random.default_rng(0).bytes(400)
    path = tmp_path / common_clip.name
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SourceWarning)
        assert len(list(open_source(path, SMALL))) > 20


def with_cover(path: Path, *, video: bool, sound: bool) -> Path:
    """A cover picture in front of a video or sound, as shops and recorders write it."""
    with av.open(str(path), "w") as container:
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        streams = [cover]
        if video:
            moving = container.add_stream("mpeg4", rate=10)
            moving.width, moving.height, moving.pix_fmt = 32, 48, "yuv420p"
            streams.append(moving)
        if sound:
            streams.append(container.add_stream("aac", rate=8000, layout="mono"))
        for stream in streams:
            if stream.type == "video":
                for index in range(1 if stream is cover else 6):
                    gray = np.full((stream.height, stream.width, 3), 40 * index, np.uint8)
                    frame = av.VideoFrame.from_ndarray(gray, format="rgb24")
                    frame.pts = index
                    container.mux(stream.encode(frame.reformat(format=stream.pix_fmt)))
            else:
                frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
                frame.rate, frame.pts = 8000, 0
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    return path


def test_cover_pictures_are_no_video(tmp_path: Path) -> None:
    format = InputFormat(name="x", width=32, height=48)
    clip = with_cover(tmp_path / "a.mp4", video=True, sound=False)
    assert len(list(open_source(clip, format))) == 6
    song = with_cover(tmp_path / "b.mp4", video=False, sound=True)
    with pytest.raises(SourceError, match="no video but a cover picture"):
        open_source(song, format)


def test_whole_clips_do_not_warn(common_clip: Path, clip: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(list(open_source(common_clip, SMALL))) == 120
        assert len(list(open_source(clip, SMALL))) == 20


TRANSPORT = {"codec": "mpeg2video", "pixels": "yuv420p"}


def test_transport_streams_one_behind_the_other_are_not_damaged(
    tmp_path: Path, smooth: list[Picture]
) -> None:
    """Recorders write segments, and people join them with cat: every frame is there."""
    parts = [write_clip(tmp_path / f"{i}.ts", smooth, **TRANSPORT) for i in range(3)]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(list(open_source(joined, SMALL))) == 3 * len(smooth)


def test_lost_packets_of_a_transport_stream_are_told(tmp_path: Path, smooth: list[Picture]) -> None:
    path = write_clip(tmp_path / "a.ts", smooth * 3, **TRANSPORT)
    data = path.read_bytes()
    packets = [data[i : i + 188] for i in range(0, len(data), 188)]
    lost = len(packets) // 2
    path.write_bytes(b"".join(packets[:lost] + packets[lost + 3 :]))
    with pytest.warns(SourceWarning, match="is damaged or cut off"):
        list(open_source(path, SMALL))


def test_codings_without_a_decoder_are_said_to_be_unread(tmp_path: Path) -> None:
    """FFmpeg finds a picture in it, and nothing to decode it with."""
    path = tmp_path / "logo.svg"
    path.write_text('<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"/>')
    with pytest.raises(SourceError, match=r"logo\.svg: is in a coding that is not read"):
        open_source(path, SMALL)


@pytest.mark.parametrize("suffix", ["avi", "mkv"])
def test_motion_jpeg_with_incomplete_pictures_leaves_them_out_and_warns(
    tmp_path: Path, pictures: list[Picture], suffix: str
) -> None:
    """Half of each would be gray, and no word of it."""
    path = write_clip(tmp_path / f"a.{suffix}", pictures[:8], codec="mjpeg", pixels="yuvj420p")
    data = bytearray(path.read_bytes())
    starts = [place.start() for place in re.finditer(b"\xff\xd8\xff", data)]
    for number in (2, 5):
        middle = (starts[number] + starts[number + 1]) // 2
        data[middle : middle + 4] = b"\xff\xd9\0\0"
    path.write_bytes(data)
    with pytest.warns(SourceWarning, match="is damaged or cut off; 6 of about 8 frames"):
        assert len(list(open_source(path, SMALL))) == 6


@pytest.mark.parametrize("suffix", ["avi", "mkv"])
def test_frames_that_the_decoder_guesses_are_counted(
    tmp_path: Path, smooth: list[Picture], suffix: str
) -> None:
    """They come, gray or smeared, as if nothing had happened to them."""
    path = write_clip(tmp_path / f"a.{suffix}", smooth, codec="mpeg4", pixels="yuv420p")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 40] = bytes(40)
    path.write_bytes(data)
    with pytest.warns(SourceWarning, match=r"[1-9]\d* of them partly guessed by the decoder"):
        assert len(list(open_source(path, SMALL))) >= 10


@pytest.mark.parametrize("share", [0, 0.001, 0.004])
def test_clip_of_which_nothing_is_left_is_an_error(
    common_clip: Path, tmp_path: Path, share: float
) -> None:
    data = common_clip.read_bytes()
    path = tmp_path / common_clip.name
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(SourceError, match=r"clip\.\w+: (cannot be opened|gave no frame|holds no)"):
        list(open_source(path, SMALL))


def test_recording_that_was_cut_off_before_its_index_is_explained(
    tmp_path: Path, smooth: list[Picture]
) -> None:
    """Cameras that lost their power leave such, whatever they are called."""
    path = write_clip(tmp_path / "a.mp4", smooth, codec="mpeg4", pixels="yuv420p")
    data = path.read_bytes()
    (tmp_path / "a.bin").write_bytes(data[: data.rfind(b"moov") - 4])
    with pytest.raises(SourceError, match=r"a\.bin: cannot be opened: .* cut off\? MP4 and MOV"):
        open_source(tmp_path / "a.bin", SMALL)


@pytest.mark.parametrize("name", ["a.txt", "a.mp4", "a.onnx", "a", "a.nfo"])
def test_text_is_no_video(tmp_path: Path, name: str) -> None:
    """FFmpeg would draw it in a terminal font and call that a film."""
    (tmp_path / name).write_text("hello, these are words and no pictures\n" * 50)
    with pytest.raises(SourceError, match="A source is a video file"):
        list(open_source(tmp_path / name, SMALL))


def test_playlists_cannot_reach_the_network(tmp_path: Path) -> None:
    path = tmp_path / "a.m3u8"
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://192.0.2.1/a.ts\n")
    started = time.perf_counter()
    with pytest.raises(SourceError):
        list(open_source(path, SMALL))
    assert time.perf_counter() - started < 2


def test_names_are_never_protocols(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    odd = Path("concat:a|b.mkv")
    odd.write_bytes(clip.read_bytes())
    assert len(list(open_source(odd, EXACT))) == 20
    with pytest.raises(SourceError, match="no such file"):
        open_source(f"file:{odd}", EXACT)


@pytest.mark.parametrize(
    ("name", "count"),
    [("vtest.avi", 795), ("bottle-detection.mp4", 1189), ("asl_gestures/again.mkv", 77)],
)
def test_real_clips_decode_whole(shared: Path, name: str, count: int) -> None:
    """All but the last frames are skipped, to be quick; decoding goes through all of them."""
    path = shared / "data" / "video" / name
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        source = open_source(path, InputFormat(name="x", width=32, height=32), skip=count - 2)
        assert source.length is not None
        assert 1 <= source.length <= 3
        assert len(list(source)) == 2


FIRST_USES = """
import sys, threading, time
import numpy as np
from mquans.plan import InputFormat
from mquans.sources import open_source

halfway, wrong = threading.Event(), []

class Slow:
    @staticmethod
    def find_spec(name, path, target=None):
        if name == "av.audio":
            halfway.set()
            time.sleep(0.3)

def read(source):
    try:
        for _ in open_source(source, InputFormat(name="x", width=8, height=8)):
            pass
    except Exception as error:
        wrong.append(error)

sys.meta_path.insert(0, Slow)
camera = threading.Thread(target=read, args=(sys.argv[1],))
camera.start()
halfway.wait()
read([np.zeros((4, 4, 3), np.uint8)])
camera.join()
sys.exit(repr(wrong) if wrong else 0)
"""


def test_first_frames_of_two_threads_may_come_at_once(clip: Path) -> None:
    """A program that opens a camera per thread loads PyAV in both: of a package whose parts import
    each other, two threads that begin at different ones get half."""
    command = [sys.executable, "-c", FIRST_USES, str(clip)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
