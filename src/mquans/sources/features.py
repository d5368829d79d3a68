"""Samples into features, as they come: windows, spectra, mel bands."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from mquans.errors import DependencyError, SourceError
from mquans.plan.audio import KALDI_FEATURES, AudioFormat

Values = npt.NDArray[np.float64]

_KALDI_WINDOWS = {
    "rectangular": "rectangular",
    "hann": "hanning",
    "hamming": "hamming",
    "povey": "povey",
}


class Extractor(Protocol):
    """Features of one recording; samples come in pieces of any length.

    Features never depend on how samples were cut into pieces.
    """

    def push(self, samples: Values) -> Values:
        """Features [windows, width] of the windows that these samples complete."""

    def finish(self) -> Values:
        """Features of what is left at the end of the recording."""


def new_extractor(format: AudioFormat) -> Extractor:
    """An extractor at the beginning of a recording.

    Raises:
        DependencyError: kaldi-native-fbank is needed and absent.
        SourceError: it refuses the options.
    """
    return _Kaldi(format) if format.features in KALDI_FEATURES else _Spectra(format)


def window_function(format: AudioFormat) -> Values:
    """What every window is multiplied by, [window]."""
    size = format.window
    if format.function == "rectangular" or size == 1:
        return np.ones(size)
    phase = 2 * math.pi * np.arange(size) / (size if format.periodic else size - 1)
    match format.function:
        case "hamming":
            return np.asarray(0.54 - 0.46 * np.cos(phase))
        case "hann":
            power = 1.0
        case "sqrt_hann":
            power = 0.5
        case _:  # Povey's, of Kaldi
            power = 0.85
    # Rounding may leave the ends a hair below zero, which no root exists of.
    return np.asarray(np.maximum(0.5 - 0.5 * np.cos(phase), 0.0) ** power)


def _logarithm(values: Values, format: AudioFormat) -> Values:
    floored = np.maximum(values, format.floor)
    return np.log10(floored) if format.log == "10" else np.log(floored)


class Windows:
    """Windows of samples, multiplied by the window function.

    A recording of n samples has ceil(n / hop) of them; the last are filled up with silence.
    """

    def __init__(self, format: AudioFormat) -> None:
        self._format = format
        self._function = window_function(format)
        self._heard = self._made = 0
        self._kept = np.zeros(format.window - format.hop if format.pad else 0)

    def push(self, samples: Values) -> Values:
        """Windows [windows, window] that these samples complete."""
        self._heard += len(samples)
        return self._windows(samples)

    def finish(self) -> Values:
        """Windows that begin in the recording and reach beyond its end."""
        format = self._format
        missing = math.ceil(self._heard / format.hop) - self._made
        if missing <= 0:
            return np.empty((0, format.window))
        return self._windows(np.zeros((missing - 1) * format.hop + format.window - len(self._kept)))

    def _windows(self, samples: Values) -> Values:
        format = self._format
        joined = np.concatenate([self._kept, samples])
        count = max(0, (len(joined) - format.window) // format.hop + 1)
        self._made += count
        self._kept = joined[count * format.hop :]
        if not count:
            return np.empty((0, format.window))
        return sliding_window_view(joined, format.window)[:: format.hop] * self._function


class _Spectra:
    """Windows themselves, or of their spectra, in double precision."""

    def __init__(self, format: AudioFormat) -> None:
        self._format = format
        self._windows = Windows(format)

    def push(self, samples: Values) -> Values:
        return self._features(self._windows.push(samples))

    def finish(self) -> Values:
        return self._features(self._windows.finish())

    def _features(self, windows: Values) -> Values:
        format = self._format
        if format.features == "samples":
            return windows
        spectrum = np.fft.rfft(windows, format.fft or format.window)
        if format.features == "magnitude":
            return np.abs(spectrum)
        power = spectrum.real**2 + spectrum.imag**2
        return power if format.features == "power" else _logarithm(power, format)


class _Kaldi:
    """Mel features by kaldi-native-fbank, of every window that lies whole in the recording."""

    def __init__(self, format: AudioFormat) -> None:
        self._format = format
        self._taken = 0
        try:
            self._online = _kaldi_features(format)
            # Options are only looked at when the first window comes.
            _kaldi_features(format).accept_waveform(format.rate, np.zeros(format.window))
        except ImportError:
            raise DependencyError(
                f"{format.features} features need the package 'kaldi-native-fbank'.",
                hint='Install it with: pip install "mquans[audio]"',
            ) from None
        except (ValueError, RuntimeError) as error:
            raise SourceError(f"{error}.", where="preparation of sound") from error
        if format.pad:
            self._online.accept_waveform(format.rate, np.zeros(format.window - format.hop))

    def push(self, samples: Values) -> Values:
        self._online.accept_waveform(self._format.rate, samples.astype(np.float32))
        return self._ready()

    def finish(self) -> Values:
        self._online.input_finished()
        return self._ready()

    def _ready(self) -> Values:
        count = self._online.num_frames_ready
        rows = [np.array(self._online.get_frame(index)) for index in range(self._taken, count)]
        # Without this, everything heard so far would stay in memory.
        self._online.pop(count - self._taken)
        self._taken = count
        features = np.array(rows, np.float64).reshape(len(rows), self._format.width)
        return (
            _logarithm(features, self._format) if self._format.features == "log_mel" else features
        )


def _kaldi_features(format: AudioFormat) -> Any:
    import kaldi_native_fbank as knf

    options = knf.MfccOptions() if format.features == "mfcc" else knf.FbankOptions()
    windows, mel = options.frame_opts, options.mel_opts
    windows.samp_freq = format.rate
    # Lengths are rounded down to samples there: half a sample more is safe from rounding here.
    windows.frame_length_ms = (format.window + 0.5) * 1000 / format.rate
    windows.frame_shift_ms = (format.hop + 0.5) * 1000 / format.rate
    windows.round_to_power_of_two = (format.fft or format.window) != format.window
    windows.window_type = "hann" if format.periodic else _KALDI_WINDOWS[format.function]
    windows.dither = 0.0
    mel.num_bins, mel.low_freq, mel.high_freq = format.bins, format.low, format.high
    if format.features == "mfcc":
        options.num_ceps = format.coefficients
        return knf.OnlineMfcc(options)
    if format.features == "log_mel":
        windows.preemph_coeff = 0.0
        windows.remove_dc_offset = False
        mel.is_librosa = True
        options.use_log_fbank = False
    return knf.OnlineFbank(options)
