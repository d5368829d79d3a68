"""Voice activity, enhancement and texts of label files, against numbers worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mquans.errors import FrameError, MetricError
from mquans.metrics import (
    DistortionLoss,
    VoiceActivityLoss,
    WordErrorLoss,
    load_labels,
    load_metric,
    new_meter,
    si_sdr,
)
from mquans.plan import AudioFormat
from mquans.sources import guess_audio_format

FORMAT = AudioFormat(
    name="x", shape=(1, 5), rate=8000, features="magnitude", window=8, hop=4, function="sqrt_hann",
    periodic=True,
)  # fmt: skip


def speech(*probabilities: float) -> dict[str, np.ndarray]:
    return {"p": np.array([probabilities], np.float32)}


def best(*classes: int, of: int = 11) -> dict[str, np.ndarray]:
    return {"y": np.eye(of, dtype=np.float32)[list(classes)][None]}


def filled(meter: Any, *frames: tuple[Any, Any, Any]) -> Any:
    for frame in frames:
        meter.add(*frame)
    return meter


def test_vad_f1_with_labels_is_what_the_dense_network_has_more() -> None:
    """Dense: 2 hits, 1 missed -> 4/5. Ours: 1 hit, 1 invented, 2 missed -> 2/5."""
    frames = [
        (speech(0.9), speech(0.9), 1),
        (speech(0.1), speech(0.8), 1.0),
        (speech(0.2), speech(0.3), 1),
        (speech(0.7), speech(0.1), 0),
    ]
    meter = filled(VoiceActivityLoss(), *frames)
    assert meter.result() == pytest.approx(0.8 - 0.4)
    assert meter.per_frame == [0, 1, 0, 1]


def test_vad_f1_without_labels_is_disagreement_with_the_dense_network() -> None:
    """Ours has 1 hit and 1 missed of the dense network's 2 -> 2/3."""
    frames = [(speech(0.9), speech(0.9), None), (speech(0.4), speech(0.6), None)]
    assert filled(VoiceActivityLoss(), *frames).result() == pytest.approx(1 / 3)


def test_vad_of_whole_sequences_takes_a_label_per_step() -> None:
    meter = filled(VoiceActivityLoss(), (speech(0.9, 0.9, 0.1), speech(0.9, 0.1, 0.1), [1, 0, 0]))
    assert meter.result() == pytest.approx(1 - 2 / 3)
    with pytest.raises(MetricError, match="2 values, but the output has 3 positions"):
        meter.add(speech(0, 0, 0), speech(0, 0, 0), [1, 0])
    with pytest.raises(MetricError, match="not 0 or 1"):
        meter.add(speech(0), speech(0), "speech")


def test_silence_that_nobody_takes_for_speech_is_perfect() -> None:
    """0/0 must not fail, nor count as a loss."""
    assert filled(VoiceActivityLoss(), (speech(0.1), speech(0.1), 0)).result() == 0


def test_si_sdr_by_hand() -> None:
    """<s, f> / |s|^2 = 2, target (2, 2, 0), distortion (0, 0, 1): 10 log10 8; scale is free."""
    assert si_sdr([2, 2, 1], [1, 1, 0]) == pytest.approx(10 * math.log10(8))
    assert si_sdr([20, 20, 10], [1, 1, 0]) == pytest.approx(10 * math.log10(8))
    assert si_sdr([3, -3], [1, -1]) == 100
    assert si_sdr([0, 0], [1, 1]) == si_sdr([1, 1], [0, 0]) == -100


def windows(samples: np.ndarray) -> np.ndarray:
    return np.stack([samples[i : i + 8] for i in range(0, len(samples) - 7, 4)])


def test_enhancement_loses_what_the_gains_let_through() -> None:
    """Dense gains that leave the clean sound, ours that leave half of the noise."""
    rng = np.random.default_rng(3)
    clean, noise = rng.standard_normal((2, 400))
    noisy = clean + noise

    def gains(k: int, share: float) -> dict[str, np.ndarray]:
        function = np.sqrt(np.hanning(9)[:-1])
        spectra = [np.fft.rfft(windows(x)[k] * function) for x in (clean + share * noise, noisy)]
        return {"g": np.abs(spectra[0])[None] / np.maximum(np.abs(spectra[1]), 1e-9)[None]}

    labels = np.stack([windows(noisy), windows(clean)], axis=1)
    frames = [(gains(k, 0.8), gains(k, 0.0), labels[k]) for k in range(len(labels))]
    loss = filled(DistortionLoss(FORMAT), *frames).result()
    assert 1.0 < loss < 8.0
    same = [(dense, dense, label) for _, dense, label in frames]
    assert filled(DistortionLoss(FORMAT), *same).result() == 0


def test_enhancement_of_known_sound_gives_known_decibels() -> None:
    """Gains of 1 leave the noisy sound, whose SI-SDR is that of the samples themselves."""
    rng = np.random.default_rng(4)
    clean = rng.standard_normal(400)
    noisy = clean + 0.1 * rng.standard_normal(400)
    labels = np.stack([windows(noisy), windows(clean)], axis=1)
    ones, zeros = {"g": np.ones((1, 5))}, {"g": np.zeros((1, 5))}
    meter = filled(DistortionLoss(FORMAT), *((zeros, ones, label) for label in labels))
    # The first hop is only heard through the rising half of the window, exactly; the last is due.
    expected = si_sdr(noisy[1:396], clean[1:396])
    assert meter.result() == pytest.approx(expected + 100, abs=1e-6)
    # Luck on one recording is no promise for the next: what is gained counts as well.
    meter = filled(DistortionLoss(FORMAT), *((ones, zeros, label) for label in labels))
    assert meter.result() == pytest.approx(expected + 100, abs=1e-6)


def test_enhancement_says_what_label_it_needs() -> None:
    meter = DistortionLoss(FORMAT)
    gains = {"g": np.ones((1, 5))}
    for label in (None, 1.0, "x", np.zeros((2, 7))):
        with pytest.raises(MetricError, match=r"an array \[2, 8\]"):
            meter.add(gains, gains, label)
    with pytest.raises(FrameError, match="4 gains, but a spectrum of 8 samples has 5 bins"):
        meter.add({"g": np.ones((1, 4))}, gains, np.zeros((2, 8)))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labels.csv", "text\n\n\n4 2\n\n7\n"),
        ("labels.jsonl", 'null\n"4 2"\nnull\n7\n'),
        ("words.jsonl", 'null\n["4", "2"]\nnull\n[7]\n'),
    ],
)
def test_texts_from_label_files_are_the_words_that_were_meant(
    tmp_path: Path, name: str, content: str
) -> None:
    """A table makes the word 7 a number; written as 7.0 it would count as wrong for ever."""
    (tmp_path / name).write_text(content if "csv" not in name else 'text\n""\n4 2\n""\n7\n')
    labels = load_labels(tmp_path / name)
    said = [best(0, 5), best(5, 0, 3), best(0), best(8, 0)]  # the digits 4 2, then 7
    missed = [best(0, 5), best(5, 0, 3), best(0), best(0, 0)]
    meter = new_meter(load_metric("digit_error_rate"))
    for found, dense, label in zip(said, said, labels, strict=True):
        meter.add(found, dense, label)
    assert meter.result() == 0
    meter = new_meter(load_metric("digit_error_rate"))
    for found, dense, label in zip(missed, said, labels, strict=True):
        meter.add(found, dense, label)
    assert meter.result() == pytest.approx(1 / 3)


def test_own_mistakes_of_the_dense_network_are_not_ours() -> None:
    """It writes 4 3 where 4 2 is wanted, ours writes 4: one error each."""
    meter = WordErrorLoss(symbols=["", *(f"{digit} " for digit in range(10))])
    meter.add(best(5, 0), best(5, 0, 4), "4 2")
    assert meter.result() == 0


@pytest.mark.parametrize("name", ["vad_f1", "digit_error_rate", "nsnet2_si_sdr", "dtln_si_sdr"])
def test_ready_metrics_are_meters_of_their_own(name: str) -> None:
    assert new_meter(load_metric(name)).result() == 0


def test_ready_enhancement_fits_the_networks_own_front_end() -> None:
    """Windows of 320 samples at 161 gains, as NSNet2 gives them."""
    meter = new_meter(load_metric("nsnet2_si_sdr"))
    format = guess_audio_format("input", (1, 1, 161))
    ones = {"output": np.ones((1, 1, 161), np.float32)}
    label = np.random.default_rng(0).standard_normal((2, format.window))
    meter.add(ones, ones, label)
    assert meter.result() == 0
