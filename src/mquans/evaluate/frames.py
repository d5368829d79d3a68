"""Frames by input name, as both our engine and the dense ones take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mquans.engine.stream import Frame
from mquans.errors import FrameError
from mquans.plan import InputFormat, pixel_values
from mquans.sources import FirstFrame, begins

Feeds = dict[str, npt.NDArray[Any]]
"""float32; of pictures also uint8, see `Stream.step`."""


def feeds_of(frame: Frame, inputs: Sequence[str]) -> Feeds:
    """One frame of a source as arrays by input name; a `FirstFrame` stays one.

    Raises:
        FrameError: one array for a network of several inputs.
    """
    if isinstance(frame, Mapping):
        return FirstFrame(frame) if begins(frame) else dict(frame)
    if len(inputs) != 1:
        raise FrameError(
            f"the source gives one array per frame, but the network has {len(inputs)} inputs.",
            hint=f"Give an .npz file with the arrays {', '.join(inputs)}.",
        )
    return {inputs[0]: frame}


def as_floats(feeds: Mapping[str, npt.NDArray[Any]], format: InputFormat | None) -> Feeds:
    """A frame as dense engines take it: pixels as the values that they stand for."""
    return {
        name: pixel_values(value, format) if format and value.dtype == np.uint8 else value
        for name, value in feeds.items()
    }


def finite(feeds: Mapping[str, npt.NDArray[Any]]) -> bool:
    """False for a frame that a stream would refuse because it holds NaN or infinite values."""
    return all(bool(np.isfinite(value).all()) for value in feeds.values())
