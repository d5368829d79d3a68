"""What pixels from 0 to 255 stand for in a network's input."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mquans.plan.schema import InputFormat

Floats = npt.NDArray[np.float32]


def pixel_scale(format: InputFormat) -> tuple[Floats, Floats]:
    """(factor, offset) of every channel: a value is `pixel * factor + offset`, rounded to float32
    after each."""
    mean = np.broadcast_to(np.asarray(format.mean, np.float64), format.channels)
    std = np.broadcast_to(np.asarray(format.std, np.float64), format.channels)
    return (format.scale / std).astype(np.float32), (-mean / std).astype(np.float32)


def pixel_values(pixels: npt.NDArray[np.uint8], format: InputFormat) -> Floats:
    """Pixels in the layout of the network's input as the values that they stand for.

    Args:
        pixels: uint8, of `format.shape`.
    """
    factor, offset = pixel_scale(format)
    shape = [
        size if axis == "c" else 1 for axis, size in zip(format.layout, format.shape, strict=True)
    ]
    values = np.multiply(pixels, factor.reshape(shape))
    return np.add(values, offset.reshape(shape), out=values)
