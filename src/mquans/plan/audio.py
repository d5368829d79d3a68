"""How sound becomes a network's input, as a plan states it, and what makes that unusable."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec

Features = Literal["samples", "magnitude", "power", "log_power", "log_mel", "mfcc", "fbank"]
WindowFunction = Literal["rectangular", "hann", "sqrt_hann", "hamming", "povey"]

Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 20)]
Size = Annotated[int, msgspec.Meta(ge=1, le=1 << 20)]
Neighbours = Annotated[int, msgspec.Meta(ge=0, le=1000)]

KALDI_FEATURES = frozenset(("log_mel", "mfcc", "fbank"))
"""Computed by kaldi-native-fbank."""


class AudioFormat(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How sound becomes the network's input: windows, features, normalisation, tensor.

        samples  ----------------------------->  mono, from -1 to 1, at `rate`, times `gain`
        windows  |--- window ---|                one every `hop` samples
                      |--- window ---|
        features   0    1    2    3    4         `(feature * scale - mean) / std`
        steps      0         2         4         stacked with `context`, every `subsample`-th
        frames     [0         2]  [4 ...         as many steps as `shape` holds

    A source of ready tensors bypasses it.

    Attributes:
        name: the graph input that is fed.
        shape: of that input: [..., steps, ..., features of a step] in `layout`.
        rate: samples per second; recordings at another rate are resampled.
        features: the windows themselves; magnitude |X|, power |X|^2 or log of the power spectrum X;
            `log_mel`, log of the power in mel bands as librosa has them (Slaney); `mfcc`, `fbank`,
            as Kaldi computes them.
        window, hop: samples of a window, and from one to the next.
        fft: length of the transform, with zeros behind the window; 0 for the window's own. Kaldi's
            features also take the next power of two.
        function: what windows are multiplied by; symmetric, or `periodic` (one sample longer and
            the last left out).
        pad: the first window ends with the first hop, and is silence before it; otherwise it begins
            with the first sample.
        gain: factor of the samples; 32768 where a network was trained on 16-bit integers, as
            Kaldi's are.
        bins: mel bands, for `log_mel`, `mfcc`, `fbank`.
        coefficients: of `mfcc`; the first is the log energy.
        low, high: Hz of the mel bands' outer edges; high of 0 is half the rate.
        log, floor: base, and smallest value that it is taken of, for `log_power` and `log_mel`.
        scale, mean, std: of the normalisation; mean and std have one value for all features or one
            each.
        context: steps before and behind that are stacked with each, as acoustic models do; at the
            ends of a recording its first and last are repeated.
        subsample: every k-th of the stacked steps is used.
        layout: order of the axes of time and features in the tensor.
        advance: steps from one frame to the next; 0 for all of a frame's, so that none comes twice.
        whole: a frame is a whole recording, filled up with zeros or cut to the shape.
    """

    name: str
    shape: tuple[Size, ...]
    rate: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    features: Features = "samples"
    window: Size
    hop: Size
    fft: Count = 0
    function: WindowFunction = "rectangular"
    periodic: bool = False
    pad: bool = False
    gain: float = 1.0
    bins: Count = 0
    coefficients: Count = 0
    low: float = 0.0
    high: float = 0.0
    log: Literal["e", "10"] = "e"
    floor: float = 1e-12
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    context: tuple[Neighbours, Neighbours] = (0, 0)
    subsample: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1
    layout: Literal["tf", "ft"] = "tf"
    advance: Count = 0
    whole: bool = False

    @property
    def width(self) -> int:
        """Features of one window."""
        match self.features:
            case "samples":
                return self.window
            case "magnitude" | "power" | "log_power":
                return (self.fft or self.window) // 2 + 1
            case "mfcc":
                return self.coefficients
        return self.bins

    @property
    def step_width(self) -> int:
        """Features of one step, those of its neighbours included."""
        return self.width * (1 + sum(self.context))

    @property
    def steps(self) -> int:
        """Steps of one frame."""
        return math.prod(self.shape) // max(self.step_width, 1)


def problem_with_audio(format: AudioFormat) -> str | None:
    """One sentence on what makes a format of sound unusable; None when it is sound."""
    return next(_problems(format), None)


def _problems(format: AudioFormat) -> Iterator[str]:
    fft = format.fft or format.window
    if format.hop > format.window:
        yield f"a hop of {format.hop} samples is longer than the window of {format.window}."
    if fft < format.window:
        yield f"a transform of {fft} samples is shorter than the window of {format.window}."
    for name in ("gain", "low", "high", "floor", "scale"):
        value: float = getattr(format, name)
        if not math.isfinite(value):
            yield f"{name} must be finite, not {value}."
    if format.floor <= 0:
        yield f"the floor of the logarithm must be greater than 0, not {format.floor:g}."
    if format.features in KALDI_FEATURES:
        yield from _mel_problems(format, fft)
    for name in ("mean", "std"):
        values: tuple[float, ...] = getattr(format, name)
        if len(values) not in (1, format.width):
            yield f"{name} has {len(values)} values, but there are {format.width} features."
        if not all(math.isfinite(value) for value in values):
            yield f"{name} must be finite."
    if not all(format.std):
        yield "std must not be 0."
    if not 1 <= len(format.shape) <= 8 or math.prod(format.shape) % max(format.step_width, 1):
        yield (
            f"a step has {format.step_width} features, which do not fill shape "
            f"{list(format.shape)}."
        )
    if format.advance > format.steps:
        yield f"an advance of {format.advance} steps skips some of a frame's {format.steps}."


def _mel_problems(format: AudioFormat, fft: int) -> Iterator[str]:
    if format.function == "sqrt_hann":
        yield f"{format.features} is not computed from windows in sqrt_hann."
    if format.periodic and format.function != "hann":
        yield f"{format.features} takes a periodic window only as hann."
    if fft not in (format.window, 1 << (format.window - 1).bit_length()):
        yield (
            f"{format.features} is computed with a transform of the window's {format.window} "
            "samples, or of the next power of two."
        )
    if not 3 <= format.bins <= fft // 2:
        yield f"{format.features} needs 3 to {fft // 2} mel bands (bins), not {format.bins}."
    if format.features == "mfcc" and not 1 <= format.coefficients <= format.bins:
        yield f"mfcc needs 1 to {format.bins} coefficients, not {format.coefficients}."
    if not 0 <= format.low < (format.high or format.rate / 2) <= format.rate / 2:
        yield (
            f"mel bands must lie between 0 and {format.rate / 2:g} Hz, not from {format.low:g} to "
            f"{format.high:g}."
        )
