"""If these break, speech benchmarks judge by labels that are wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

soundfile = pytest.importorskip("soundfile")
pytest.importorskip("soxr")


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Digits as tones at 8 kHz, of speakers `a` and `b`, and a noise."""
    digits = tmp_path / "data" / "speech" / "fsdd" / "recordings"
    noise = tmp_path / "data" / "speech" / "noise"
    digits.mkdir(parents=True)
    noise.mkdir()
    time = np.arange(2400) / 8000
    for digit in range(10):
        for speaker in "ab":
            tone = 0.3 * np.sin(2 * np.pi * (200 + 50 * digit) * time)
            soundfile.write(digits / f"{digit}_{speaker}_0.wav", tone, 8000)
    rng = np.random.default_rng(0)
    soundfile.write(noise / "tap.wav", rng.uniform(-0.1, 0.1, 20000), 16000)
    return tmp_path


def test_speech_is_where_it_was_put(recordings: Path) -> None:
    """Under noise 40 dB below, speech is what is loud."""
    from speech_streams import vad_stream

    stream = vad_stream(recordings, 30, seed=1, snr_db=40)
    assert stream.rate == 16000
    assert len(stream.samples) == 30 * 16000
    labels = stream.speech(160)
    loud = np.sqrt((stream.samples.reshape(-1, 160) ** 2).mean(axis=1)) > 0.01
    assert 0.1 < labels.mean() < 0.9
    assert (labels == loud).mean() > 0.98
    assert len(stream.speech(512)) == -(-30 * 16000 // 512)


def test_nothing_is_said_that_no_label_tells(recordings: Path) -> None:
    """Least of all at the end, where an utterance may not fit any more."""
    from speech_streams import vad_stream

    for seed in range(10):
        stream = vad_stream(recordings, 7, seed)
        said = np.repeat(stream.speech(10), 10) == 1
        assert (stream.clean[said] != 0).mean() > 0.9
        assert (stream.clean[~said] != 0).mean() < 0.01


def test_streams_are_the_same_for_the_same_seed(recordings: Path) -> None:
    """Else no two runs of a benchmark could be compared."""
    from speech_streams import vad_stream

    first, again, other = (vad_stream(recordings, 5, seed) for seed in (0, 0, 1))
    assert np.array_equal(first.samples, again.samples)
    assert not np.array_equal(first.samples, other.samples)


def test_noise_has_the_ratio_that_was_asked_for(recordings: Path) -> None:
    from speech_streams import speech_under_noise

    stream = speech_under_noise(recordings, 20, seed=2, snr_db=5)
    silent = stream.clean == 0
    speech, noise = stream.clean[~silent], (stream.samples - stream.clean)[silent]
    assert 10 * np.log10(np.mean(speech**2) / np.mean(noise**2)) == pytest.approx(5, abs=0.2)


def test_texts_stand_behind_what_was_said(recordings: Path) -> None:
    """A label before the end of its utterance would count its last words as the next one's."""
    from speech_streams import digit_strings

    stream = digit_strings(recordings, 30, seed=3, speakers=("b",))
    labels = stream.texts(160)
    said = [(hop, text) for hop, text in enumerate(labels) if text is not None]
    assert [text for _, text in said] == [utterance.text for utterance in stream.utterances]
    for (hop, _), utterance in zip(said, stream.utterances, strict=True):
        assert hop * 160 > utterance.spans[-1][1] - 160
    following = [utterance.spans[0][0] for utterance in stream.utterances[1:]]
    assert all(hop * 160 < begin for (hop, _), begin in zip(said, following, strict=False))


def test_windows_are_those_of_the_network(recordings: Path) -> None:
    """Labels of enhancement: one pair of windows per frame."""
    from speech_streams import speech_under_noise

    from mquans.sources import guess_audio_format, prepare_recordings

    stream = speech_under_noise(recordings, 2, seed=4)
    for shape in ((1, 1, 161), (1, 1, 257)):
        format = guess_audio_format("x", shape)
        labels = stream.windows(format)
        frames = list(prepare_recordings([stream.samples], format))
        assert labels.shape == (len(frames), 2, format.window)
        clean = stream.clean[: format.hop]
        begin = format.window - format.hop if format.pad else 0
        assert np.array_equal(labels[0, 1, begin : begin + format.hop], clean)
