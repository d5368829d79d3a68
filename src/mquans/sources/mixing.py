"""Sound of any rate and number of channels as one channel at the rate of a network."""

from __future__ import annotations

import warnings
from collections.abc import Generator
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mquans.errors import DependencyError, SourceError
from mquans.sources.warning import SourceWarning

Samples = npt.NDArray[np.float32]


class Sound(Protocol):
    """Where samples come from.

    Attributes:
        samplerate: samples per second.
    """

    samplerate: int

    def read(self) -> Samples:
        """The next samples [n, channels], from -1 to 1; none at the end."""

    def close(self) -> None: ...


def mono_pieces(sound: Sound, rate: int, *, name: str) -> Generator[Samples, None, int]:
    """Samples [n] at a rate, the mean of all channels, piece by piece as they come.

    Returns:
        how many samples were read, at the rate of the sound.

    Raises:
        SourceError: there are none, or NaN among them.
        DependencyError: the rates differ, and the extra `audio` is not installed.
    """
    own = sound.samplerate
    resampler = None if own == rate else _resampler(own, rate)
    heard, silent = 0, True
    while len(piece := sound.read()):
        mono = np.ascontiguousarray(piece.mean(axis=1))
        if not np.isfinite(mono).all():
            second = (heard + int(np.argmin(np.isfinite(mono)))) / own
            raise SourceError(
                f"holds NaN or infinite samples, the first at {second:.3f} s.", where=name
            )
        heard += len(mono)
        silent = silent and not mono.any()
        yield mono if resampler is None else resampler.resample_chunk(mono)
    if resampler is not None:
        yield resampler.resample_chunk(np.empty(0, np.float32), last=True)
    if not heard:
        raise SourceError("holds no samples.", where=name)
    if silent:
        warnings.warn(f"{name} is silent: every sample is 0.", SourceWarning, stacklevel=2)
    return heard


def _resampler(own: int, rate: int) -> Any:
    try:
        import soxr
    except ImportError:
        raise DependencyError(
            f"resampling from {own} to {rate} Hz needs the package 'soxr'.",
            hint='Install it with: pip install "mquans[audio]"',
        ) from None
    return soxr.ResampleStream(own, rate, 1, dtype="float32")
