"""If these break, piped sound is heard late, wrong or not at all."""

from __future__ import annotations

import gc
from contextlib import nullcontext
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mquans.errors import SourceError
from mquans.plan import AudioFormat, InputFormat
from mquans.sources import Source, SourceWarning, begins, open_source
from mquans.sources.pcm import ENCODINGS

from ...sender import Sender

LISTENS = AudioFormat(name="x", shape=(1, 100), rate=8000, window=100, hop=100)
WATCHES = InputFormat(name="x", width=48, height=32)


def noise(samples: int, channels: int = 1) -> np.ndarray:
    """Multiples of 1 / 128, which every encoding of integers holds."""
    whole = np.random.default_rng(3).integers(-128, 128, (samples, channels))
    return whole.astype(np.float32) / 128


def encoded(samples: np.ndarray, encoding: str) -> bytes:
    """Bytes as they are written by hand, not by what reads them."""
    order = "big" if encoding.endswith("be") else "little"
    size = ENCODINGS[encoding]
    flat = samples.reshape(-1)
    if encoding[0] == "f":
        return flat.astype(f"{'>' if order == 'big' else '<'}f{size}").tobytes()
    offset = 128 if encoding[0] == "u" else 0
    return b"".join(
        (int(value * (1 << 8 * size - 1)) + offset).to_bytes(size, order, signed=not offset)
        for value in flat
    )


def all_of(source: Source) -> np.ndarray:
    return np.concatenate([frame["x"][0] for frame in source])


@pytest.mark.parametrize("encoding", [name for name in ENCODINGS if "law" not in name])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_raw_samples_are_heard_to_the_bit(tmp_path: Path, encoding: str, channels: int) -> None:
    samples = noise(700, channels)
    (tmp_path / "a.raw").write_bytes(encoded(samples, encoding))
    pcm = f"{encoding}:8000:{channels}"
    with open_source(tmp_path / "a.raw", LISTENS, pcm=pcm) as source:
        np.testing.assert_allclose(all_of(source), samples.mean(axis=1), atol=1e-7)


@pytest.mark.parametrize(("encoding", "zero"), [("mulaw", b"\xff"), ("alaw", b"\xd5")])
def test_samples_of_telephones_are_heard(tmp_path: Path, encoding: str, zero: bytes) -> None:
    """ITU G.711: the smallest step, and the largest value."""
    (tmp_path / "a.raw").write_bytes(zero * 99 + (b"\x80" if encoding == "mulaw" else b"\xaa"))
    with open_source(tmp_path / "a.raw", LISTENS, pcm=f"{encoding}:8000") as source:
        heard = all_of(source)
    assert np.abs(heard[:99]).max() < 3e-4
    assert heard[99] == pytest.approx(0.98, abs=0.01)


def test_every_hop_is_there_as_soon_as_its_last_byte(sender: Sender) -> None:
    """Whatever the pieces in which bytes come, of which a sample may be cut in two."""
    data = encoded(noise(500), "s16le")
    sender.send(data[:1])
    with open_source(sender.path, LISTENS, pcm="s16le:8000") as source:
        assert (source.live, source.length) == (True, None)
        for hop in range(5):
            sender.send(data[200 * hop + 1 : 200 * (hop + 1) + 1])
            if hop < 4:
                sender.send(b"")
            frame = next(source)
            assert begins(frame) == (hop == 0)
            assert source.time_s == pytest.approx((hop + 1) * 100 / 8000)
            np.testing.assert_allclose(
                frame["x"][0], noise(500)[100 * hop : 100 * (hop + 1), 0], atol=1e-7
            )
        sender.end()
        assert list(source) == []


def wav(samples: np.ndarray, subtype: str = "PCM_16", rate: int = 8000) -> bytes:
    soundfile = pytest.importorskip("soundfile")
    file = BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype=subtype)
    return file.getvalue()


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_hops_of_a_wav_stream_come_at_once(sender: Sender, subtype: str) -> None:
    """The decoder by itself would look at the first 64 KiB, four seconds here."""
    samples = noise(300, 2)
    data = wav(samples, subtype)
    header = data.index(b"data") + 8
    step = (len(data) - header) // 3
    sender.send(data[: header + step])
    with open_source(sender.path, LISTENS) as source:
        heard = [next(source)["x"][0]]
        sender.send(data[header + step :])
        sender.end()
        heard += [frame["x"][0] for frame in source]
    np.testing.assert_allclose(np.concatenate(heard), samples.mean(axis=1), atol=1e-7)


@pytest.mark.parametrize("length", [0, 0xFFFFFFFF, 0x80000000, 0x7FFFFFFF])
def test_wav_of_unknown_length_goes_on_to_its_end(
    sender: Sender, length: int, recwarn: pytest.WarningsRecorder
) -> None:
    """As writers into a pipe leave it."""
    data = bytearray(wav(noise(300)))
    place = data.index(b"data") + 4
    data[place : place + 4] = length.to_bytes(4, "little")
    sender.send(bytes(data))
    sender.end()
    with open_source(sender.path, LISTENS) as source:
        assert len(all_of(source)) == 300
    assert not recwarn.list


def test_what_stands_behind_the_samples_of_a_wav_is_not_heard(sender: Sender) -> None:
    """Titles and names, which players write there."""
    sender.send(wav(noise(300)) + b"LIST\x08\x00\x00\x00INFOabcd" * 20)
    sender.end()
    with open_source(sender.path, LISTENS) as source:
        assert len(all_of(source)) == 300


def test_wav_that_breaks_off_is_told_of(sender: Sender) -> None:
    sender.send(wav(noise(300))[:-201])
    sender.end()
    with (
        open_source(sender.path, LISTENS) as source,
        pytest.warns(SourceWarning, match="pipe broke off in the middle of a sample"),
    ):
        assert len(all_of(source)) == 200  # 199 samples, the last hop filled up


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"),
     ("WAV", "IMA_ADPCM"), ("RF64", "PCM_16"), ("AU", "PCM_16"), ("AIFF", "PCM_16")],
)  # fmt: skip
def test_coded_sound_is_known_by_its_first_bytes(sender: Sender, kind: str, subtype: str) -> None:
    """And heard while it comes: half of it is not needed for the first hops."""
    soundfile = pytest.importorskip("soundfile")
    samples = 0.5 * np.sin(2 * np.pi * 200 / 8000 * np.arange(30 * 8000))
    file = BytesIO()
    soundfile.write(file, samples, 8000, format=kind, subtype=subtype)
    data = file.getvalue()
    sender.send(data[: 2 * len(data) // 3])
    with open_source(sender.path, LISTENS) as source:
        frames = [next(source)["x"][0] for _ in range(80)]
        sender.send(data[2 * len(data) // 3 :])
        sender.end()
        frames += [frame["x"][0] for frame in source]
    heard = np.concatenate(frames)
    assert len(heard) == pytest.approx(len(samples), abs=3000)
    spectrum = np.abs(np.fft.rfft(heard[8000:16000])) / 8000
    assert spectrum[200] == pytest.approx(0.25, abs=0.03)


def test_another_rate_is_resampled_as_of_a_file(tmp_path: Path, sender: Sender) -> None:
    """To the bit, however it is cut into pieces."""
    pytest.importorskip("soxr")
    samples = noise(48000)
    (tmp_path / "a.wav").write_bytes(wav(samples, rate=48000))
    with open_source(tmp_path / "a.wav", LISTENS) as source:
        wanted = all_of(source)
    data = encoded(samples, "s16le")
    for start in range(0, len(data), 999):
        sender.send(data[start : start + 999])
    sender.end()
    with open_source(sender.path, LISTENS, pcm="s16le:48000") as source:
        np.testing.assert_array_equal(all_of(source), wanted)


def test_a_source_that_nobody_closes_leaves_no_file_open(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(b"ab" * 8000)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        assert len(list(open_source(path, LISTENS, pcm="s16le:8000"))) > 1
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_bytes_left_at_the_end_are_told_of(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(encoded(noise(100), "s24le") + b"ab")
    with (
        open_source(tmp_path / "a.raw", LISTENS, pcm="s24le:8000") as source,
        pytest.warns(SourceWarning, match=r"in the middle of a sample: the last 2 bytes"),
    ):
        assert len(all_of(source)) == 100


@pytest.mark.parametrize(
    ("data", "pcm", "said"),
    [
        (b"", "s16le:8000", "is empty: not a single byte came"),
        (b"", None, "is empty: not a single byte came"),
        (b"a", "s16le:8000", "holds no samples"),
        (b"no sound at all " * 400, None, r"is not sound.*raw samples.*--pcm s16le:16000"),
        (b"RIFF\x00\x00\x00\x00WAVE", None, "is not sound that can be read"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", None, "is not sound that can be read"),
    ],
)
def test_what_is_no_sound_is_named(sender: Sender, data: bytes, pcm: str | None, said: str) -> None:
    sender.send(data)
    sender.end()
    with (
        pytest.raises(SourceError, match=f"pipe: {said}"),
        pytest.warns(SourceWarning) if data == b"a" else nullcontext(),
        open_source(sender.path, LISTENS, pcm=pcm) as source,
    ):
        list(source)


@pytest.mark.parametrize("pcm", ["s16le", "s16:8000", "s16le:0", "s16le:8000:0", "S24_LE:8000", ""])
def test_what_says_nothing_about_samples_is_refused(pcm: str) -> None:
    """`S24_LE` among them, which is three bytes for some programs and four for others."""
    with pytest.raises(SourceError, match=r"ENCODING:RATE\[:CHANNELS\], such as s16le:16000:1"):
        open_source("-", LISTENS, pcm=pcm)


@pytest.mark.parametrize("spec", [[np.zeros(3)], "folder"])
def test_raw_samples_of_what_has_none_are_refused(tmp_path: Path, spec: Any) -> None:
    if spec == "folder":
        spec = tmp_path
        (tmp_path / "a.wav").write_bytes(wav(noise(100)))
    with pytest.raises(SourceError, match="gives no raw samples"):
        open_source(spec, LISTENS, pcm="s16le:8000")


def test_raw_samples_for_a_network_that_watches_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.raw").write_bytes(bytes(100))
    with pytest.raises(SourceError, match="nothing says how it becomes the network's input"):
        open_source(tmp_path / "a.raw", WATCHES, pcm="s16le:8000")
