"""Segments in which more happens than in the clip, made from the clip's own frames.

Dead bands that only look good because nothing moves fail on them: values then creep along within
the bands, everywhere at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mquans.calibration.inputs import Labelled
from mquans.evaluate import Feeds
from mquans.plan import InputFormat

Values = npt.NDArray[np.float32]

LENGTH = 16
"""Frames of a segment."""

PIXELS_PER_FRAME = 0.3
BRIGHTNESS = 0.1
"""How much brighter the last frame of a ramp is."""


def stress_segments(
    frames: Sequence[Labelled], distant: Sequence[Labelled], format: InputFormat | None
) -> list[list[Labelled]]:
    """A slow pan, a slow brightness ramp, and splices of distant frames.

    Args:
        frames: consecutive ones of a clip, at least one, with labels or None.
        distant: frames from all over the clip.
        format: how pictures were prepared; None for ready tensors, which are only spliced since
            nothing is known of their axes. Frames with labels are not panned: what the label says
            would no longer be where it was.
    """
    found = [spliced(distant)]
    if format is not None:
        middle, label = frames[len(frames) // 2]
        found.append([(frame, label) for frame in brightened(middle, format)])
        if label is None:
            found.append([(frame, None) for frame in panned(middle, format)])
    return found


def panned(frame: Feeds, format: InputFormat) -> list[Feeds]:
    """The frame's middle part, moving to the left and up by a fraction of a pixel per frame;
    interpolated linearly, edges repeated."""
    axes = (2, 3) if format.layout == "nchw" else (1, 2)
    return [
        frame | {format.name: _shifted(frame[format.name], axes, PIXELS_PER_FRAME * index)}
        for index in range(LENGTH)
    ]


def brightened(frame: Feeds, format: InputFormat) -> list[Feeds]:
    """The frame under light that grows from frame to frame."""
    scale, mean, std = _affine(format)
    black, white = (0 - mean) / std, (255 * scale - mean) / std
    least, most = np.minimum(black, white), np.maximum(black, white)
    x = frame[format.name]
    made = []
    for index in range(LENGTH):
        gain = 1 + BRIGHTNESS * index / (LENGTH - 1)
        lit = np.clip((x - black) * gain + black, least, most)
        made.append(frame | {format.name: lit.astype(np.float32)})
    return made


def spliced(distant: Sequence[Labelled]) -> list[Labelled]:
    """Cuts between frames from far apart, each shown twice: what a cut leaves behind must not last.

    Neighbours in time never follow each other: first, middle, second, next but middle, ...
    """
    count = min(len(distant), LENGTH // 2)
    picked = [distant[i] for i in np.linspace(0, len(distant) - 1, count).astype(int)]
    half = (count + 1) // 2
    order = [i // 2 + (half if i % 2 else 0) for i in range(count)]
    return [picked[i] for i in order for _ in range(2)]


def _shifted(x: Values, axes: tuple[int, int], by: float) -> Values:
    for axis in axes:
        size = x.shape[axis]
        at = np.minimum(np.arange(size) + by, size - 1)
        low = at.astype(int)
        along = [-1 if i == axis else 1 for i in range(x.ndim)]
        part = (at - low).astype(np.float32).reshape(along)
        high = np.minimum(low + 1, size - 1)
        x = np.take(x, low, axis) * (1 - part) + np.take(x, high, axis) * part
    return x.astype(np.float32)


def _affine(format: InputFormat) -> tuple[float, Values, Values]:
    """Scale, mean and std, the latter two shaped like one picture's channels."""
    shape = (1, -1, 1, 1) if format.layout == "nchw" else (1, 1, 1, -1)
    mean = np.asarray(format.mean, np.float32).reshape(shape)
    return format.scale, mean, np.asarray(format.std, np.float32).reshape(shape)
