"""If these break, recordings are heard at the wrong speed, cut short, or run into each other."""

from __future__ import annotations

import builtins
import re
import sys
import warnings
import wave
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from mquans.errors import DependencyError, SourceError
from mquans.plan import AudioFormat, InputFormat
from mquans.sources import SourceWarning, begins, is_sound, open_source, read_sound

soundfile = pytest.importorskip("soundfile")

FORMAT = AudioFormat(name="x", shape=(1, 100), rate=8000, window=100, hop=100)
Samples = npt.NDArray[np.float64]


def tone(seconds: float, rate: int = 8000, hz: float = 200.0) -> Samples:
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)


def write(path: Path, samples: npt.ArrayLike, rate: int = 8000, **options: Any) -> Path:
    soundfile.write(path, np.asarray(samples), rate, **options)
    return path


def heard(path: Path | str, format: AudioFormat = FORMAT, **selection: int) -> Samples:
    """All samples of a source, hop by hop."""
    with open_source(path, format, **selection) as source:
        return np.concatenate([frame["x"][0] for frame in source])


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_lossless_files_are_heard_to_the_last_bit(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a{suffix}", tone(0.5), subtype="PCM_16")
    with open_source(path, FORMAT) as source:
        assert source.length == 40
        frames = list(source)
    assert [frame["x"].shape for frame in frames] == [(1, 100)] * 40
    assert frames[0]["x"].dtype == np.float32
    expected = np.rint(tone(0.5) * 32768) / 32768
    assert np.abs(np.concatenate([f["x"][0] for f in frames]) - expected).max() <= 1 / 32768


def test_ogg_is_heard(tmp_path: Path) -> None:
    path = write(tmp_path / "a.ogg", tone(0.5))
    assert np.abs(heard(path)[500:3500] - tone(0.5)[500:3500]).max() < 0.05


def write_coded(path: Path, samples: Samples, codec: str, rate: int = 8000) -> Path:
    """Sound as phones and cameras record it; two channels, which differ."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout="stereo")
        both = np.stack([1.5 * samples, 0.5 * samples]).astype(np.float32)
        for start in range(0, len(samples), 1024):
            piece = np.ascontiguousarray(both[:, start : start + 1024])
            frame = av.AudioFrame.from_ndarray(piece, "fltp", "stereo")
            frame.rate, frame.pts = rate, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.m4a", "aac"), ("a.mka", "pcm_s16le"), ("a.aac", "aac"), ("a.mkv", "ac3"),
     ("a.mp4", "aac"), ("a.AC3", "ac3")],
)  # fmt: skip
def test_sound_in_containers_is_heard(
    tmp_path: Path, recwarn: pytest.WarningsRecorder, name: str, codec: str
) -> None:
    """Also that of videos; coders add a little at both ends, and none of that is damage."""
    pytest.importorskip("soxr")
    path = write_coded(tmp_path / name, tone(2, 48000), codec, 48000)
    found = heard(path)
    assert 15800 < len(found) < 16800
    # At any phase: what is left beside a tone of its frequency is little.
    middle = found[4000:12000]
    spectrum = np.abs(np.fft.rfft(middle)) / len(middle)
    assert spectrum[200] == pytest.approx(0.25, abs=0.02)
    assert np.sqrt((spectrum**2).sum() - spectrum[200] ** 2) < 0.03
    assert not recwarn.list


@pytest.mark.parametrize(
    ("name", "codec"), [("a.m4a", "aac"), ("a.mp4", "aac"), ("a.mkv", "ac3"), ("a.mka", "libopus")]
)
def test_sound_in_containers_begins_where_it_began(tmp_path: Path, name: str, codec: str) -> None:
    """To the sample: coders add some at the beginning, which containers say and readers drop."""
    noise = np.random.default_rng(0).standard_normal(48000)
    samples = 0.1 * np.convolve(noise, np.hanning(24) / 12, "same")
    found, rate = read_sound(write_coded(tmp_path / name, samples, codec, 48000))
    assert rate == 48000
    length = min(len(samples), len(found))
    spectra = [np.fft.rfft(each[:length], 2 * length) for each in (samples, found)]
    assert np.argmax(np.fft.irfft(spectra[1] * spectra[0].conj())) == 0


@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.ogg", "voice message", "a.dat"])
def test_sound_of_another_kind_than_its_name_says_is_heard(tmp_path: Path, name: str) -> None:
    """Recorders and messengers name MP4 files as they like."""
    path = write_coded(tmp_path / "a.m4a", tone(1), "aac").rename(tmp_path / name)
    assert 7900 < len(heard(path)) < 9100


def test_container_that_is_cut_off_gives_what_it_holds_and_warns(tmp_path: Path) -> None:
    path = write_coded(tmp_path / "a.mka", tone(4), "pcm_s16le")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.warns(SourceWarning, match=r"a\.mka is damaged or cut off; [12]\.\d+ s"):
        assert 8000 < len(heard(path)) < 24000


@pytest.mark.parametrize(("name", "codec"), [("a.aac", "aac"), ("a.m4a", "aac"), ("a.mka", "aac")])
def test_parts_of_a_container_that_are_left_out_are_told(
    tmp_path: Path, name: str, codec: str
) -> None:
    """The recording is shorter than it was, and what follows comes too early."""
    path = write_coded(tmp_path / name, tone(4), codec)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 900] = np.random.default_rng(1).bytes(900)
    path.write_bytes(data)
    with pytest.warns(SourceWarning, match="is damaged or cut off"):
        assert len(heard(path)) > 8000


def test_folder_of_videos_is_heard_by_a_network_that_listens(tmp_path: Path) -> None:
    for name in ("a.mkv", "b.mkv"):
        write_coded(tmp_path / name, tone(0.5), "aac")
    with open_source(tmp_path, FORMAT) as source, warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [begins(frame) for frame in source].count(True) == 2


def test_another_rate_is_resampled_in_pieces_as_at_once(tmp_path: Path) -> None:
    """Longer than one block, so that a seam would be heard as a click."""
    soxr = pytest.importorskip("soxr")
    path = write(tmp_path / "a.wav", tone(3, 44100), 44100, subtype="FLOAT")
    found = heard(path)
    with open_source(path, FORMAT) as source:
        assert source.length == len(list(source)) == 240
    assert np.abs(found[200:23800] - tone(3)[200:23800]).max() < 1e-4
    at_once = soxr.resample(tone(3, 44100).astype(np.float32), 44100, 8000)
    assert np.array_equal(found, at_once.astype(np.float32))


def test_stereo_is_mixed_down(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", np.stack([tone(0.1), 0 * tone(0.1)], axis=1), subtype="FLOAT")
    assert np.allclose(heard(path), tone(0.1) / 2, atol=1e-7)


def test_folder_and_glob_play_one_recording_after_the_other(tmp_path: Path) -> None:
    """In natural order; each begins anew, and windows do not reach over."""
    for name, level in (("2.wav", 0.25), ("10.wav", 0.5)):
        write(tmp_path / name, np.full(250, level), subtype="FLOAT")
    (tmp_path / "notes.txt").write_text("no sound")
    for spec in (tmp_path, str(tmp_path / "*.wav")):
        with open_source(spec, FORMAT) as source:
            assert source.length == 6
            frames = list(source)
        assert [begins(frame) for frame in frames] == [True, False, False] * 2
        assert [frame["x"][0, 0] for frame in frames] == [0.25] * 3 + [0.5] * 3
        assert not frames[2]["x"][0, 50:].any()


def test_frames_have_the_times_of_their_ends(tmp_path: Path) -> None:
    """From the beginning of each recording, also where frames are left out."""
    for name in ("a.wav", "b.wav"):
        write(tmp_path / name, tone(0.05))
    with open_source(tmp_path, FORMAT, skip=1, stride=2) as source:
        assert source.time_s is None
        times = [source.time_s for _ in source]
    assert times == [0.025, 0.05, 0.025, 0.05]


def test_selection_counts_hops_and_keeps_where_recordings_begin(tmp_path: Path) -> None:
    """A recording whose first hop was left out begins with its next one."""
    for name in ("a.wav", "b.wav"):
        write(tmp_path / name, np.repeat(np.arange(5) / 8, 100), subtype="FLOAT")
    with open_source(tmp_path, FORMAT, skip=1, stride=3, frames=3) as source:
        assert source.length == 3
        frames = list(source)
    assert [frame["x"][0, 0] * 8 for frame in frames] == [1, 4, 2]
    assert [begins(frame) for frame in frames] == [True, False, True]


def test_nan_is_refused_with_its_place(tmp_path: Path) -> None:
    samples = tone(4)
    samples[20000] = np.nan
    path = write(tmp_path / "bad.wav", samples, subtype="FLOAT")
    with pytest.raises(SourceError, match=r"bad\.wav: holds NaN.*at 2\.500 s"):
        heard(path)


def test_cut_off_files_give_what_they_hold_and_warn(tmp_path: Path) -> None:
    """As damaged video does."""
    for name in ("a.wav", "a.flac"):
        noise = np.random.default_rng(0).uniform(-0.5, 0.5, 80000)
        path = write(tmp_path / name, noise, subtype="PCM_16")
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.warns(SourceWarning, match=r"damaged or cut off; [0-9.]+ s could be read"):
            found = heard(path)
        assert 20000 < len(found) < 60000
        assert np.abs(found[:16000] - noise[:16000]).max() < 1e-4


def test_length_unknown_to_the_writer_is_no_damage(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    """Programs that write WAV into a pipe leave the largest length."""
    path = write(tmp_path / "a.wav", tone(0.5), subtype="PCM_16")
    data = bytearray(path.read_bytes())
    data[4:8] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    assert len(heard(path)) == 4000
    assert not recwarn.list


def test_silence_warns(tmp_path: Path) -> None:
    """A microphone that was switched off looks like perfect reuse."""
    path = write(tmp_path / "a.wav", np.zeros(800))
    with pytest.warns(SourceWarning, match="is silent: every sample is 0"):
        heard(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.wav", b"", "is an empty file"),
        ("a.wav", b"RIFF", "is not sound that can be read"),
        ("a.flac", b"fLaC" + bytes(50), "is not sound that can be read"),
        ("a.ogg", b"text, not sound\n" * 10, "is not sound that can be read"),
        ("a.m4a", b"", "is an empty file"),
        ("a.m4a", b"text, not sound\n" * 10, "is not sound that can be read"),
    ],
)
def test_what_is_no_sound_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=rf"{re.escape(name)}: {message}"):
        heard(tmp_path / name)


def test_video_without_sound_is_named(tmp_path: Path, clip: Path) -> None:
    with pytest.raises(SourceError, match=r"clip \[1\]\.mkv: holds no sound"):
        heard(clip)


def test_file_without_samples_is_named(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
    with pytest.raises(SourceError, match=r"a\.wav: holds no samples"):
        heard(tmp_path / "a.wav")


@pytest.mark.parametrize("format", [None, InputFormat(name="x", width=4, height=4)])
def test_sound_without_a_format_of_sound_says_what_to_give(
    tmp_path: Path, format: InputFormat | None
) -> None:
    path = write(tmp_path / "a.wav", tone(0.1))
    with pytest.raises(SourceError, match="nothing says how it becomes the network's input"):
        open_source(path, format)


def test_ready_tensors_bypass_the_format() -> None:
    """And need no batch axis beyond the format's own shape."""
    format = msgspec.structs.replace(FORMAT, shape=(2, 100))
    ready = np.ones((2, 100), np.float32)
    assert np.array_equal(next(open_source([ready], format)), ready)


def test_whole_file_for_other_uses(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(0.5), subtype="FLOAT")
    samples, rate = read_sound(path)
    assert (rate, len(samples), samples.dtype) == (8000, 4000, np.float32)
    pytest.importorskip("soxr")
    assert len(read_sound(path, 16000)[0]) == 8000
    with pytest.raises(SourceError, match="at least 1 sample per second"):
        read_sound(path, 0)


def test_what_counts_as_sound(tmp_path: Path) -> None:
    """Calibration asks before it opens anything."""
    write(tmp_path / "a.wav", tone(0.1))
    sounds = ["mic:", "mic:3", "x.FLAC", str(tmp_path), tmp_path / "a.wav", "clips/*.ogg"]
    assert all(is_sound(spec) for spec in sounds)
    assert not any(is_sound(spec) for spec in ["x.mp4", "0", 0, np.zeros(3), "x" * 5000, "\0"])
    (tmp_path / "b.png").write_bytes(b"")
    assert not is_sound(str(tmp_path))


@pytest.mark.parametrize("package", ["soundfile", "soxr", "kaldi_native_fbank"])
def test_missing_extra_says_how_to_install_it(
    tmp_path: Path, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.wav", tone(0.1, 16000), 16000)
    fbank = AudioFormat(
        name="x", shape=(1, 23), rate=8000, features="fbank", window=200, hop=80, fft=256, bins=23
    )
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == package:
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.delitem(sys.modules, package, raising=False)
    format = fbank if package == "kaldi_native_fbank" else FORMAT
    with pytest.raises(DependencyError, match=r'pip install "mquans\[audio\]"'):
        heard(path, format)


def test_a_short_file_that_is_cut_off_is_not_empty(tmp_path: Path) -> None:
    """A damaged block takes nothing with it of those before, also within the first second."""
    path = tmp_path / "a.flac"
    noise = np.random.default_rng(0).normal(size=16000) * 0.1
    soundfile.write(path, noise, 16000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    with pytest.warns(SourceWarning, match="is damaged or cut off"):
        samples, _ = read_sound(path)
    assert 7900 < len(samples) < 12000
    np.testing.assert_allclose(samples[:7900], noise[:7900], atol=1e-4)
