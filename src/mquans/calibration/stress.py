"""Segments in which more happens than in the clip, made from the clip's own frames.

Dead bands that only look good because nothing moves fail on them: values then creep along within
the bands, everywhere at once. What is made depends on what is known of the frames:

| frames | segments |
|---|---|
| pictures | spliced distant frames; a slow brightness ramp; a slow pan |
| sound | spliced distant parts; a slow rise in volume; noise at a low level |
| ready sequences and windows, of up to 3 axes | spliced distant parts; a slow drift; noise |
| other ready tensors | spliced distant frames |
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from mquans.calibration.inputs import Labelled
from mquans.plan import AudioFormat, InputFormat
from mquans.sources import in_place_of
from mquans.sources.frames import Feeds, limits_of

Values = npt.NDArray[np.float32]
Floats = npt.NDArray[np.floating]

LENGTH = 16
"""Frames of a segment of pictures."""

STRETCH = 64
"""Frames of other segments but spliced ones, at most: what a recurrent network makes of something
takes time."""

PARTS = 8
"""That are spliced, at most."""

PIXELS_PER_FRAME = 0.3
BRIGHTNESS = 0.1
"""How much brighter the last frame of a ramp is."""

VOLUME = 2.0**0.5
"""Factor of amplitudes at the end of a rise: 3 dB."""

DRIFT = 0.5
NOISE = 0.05
"""Of values, in their standard deviations over the stretch."""

SEED = 11

NUMBERS = ("int8", "uint8", "int16", "uint16")
"""Types of integers that are samples of something; others, and truth values, are indices, lengths
or masks, which may only be what they were."""


def stress_segments(
    frames: Sequence[Labelled],
    distant: Sequence[Sequence[Labelled]],
    format: InputFormat | AudioFormat | None,
    declared: Mapping[str, str] | None = None,
) -> list[list[Labelled]]:
    """See the module.

    Args:
        frames: consecutive ones of a clip, at least one, with labels or None.
        distant: parts of one or more consecutive frames from all over the clip.
        format: how frames were prepared; None for ready tensors. Pictures with labels are not
            panned: what the label says would no longer be where it was.
        declared: types of inputs that are not of float32; what they cannot hold is rounded, and
            `NUMBERS` are the only integers that drift.
    """
    declared = declared or {}
    limits = {name: limits_of(dtype) for name, dtype in declared.items()}
    whole = {name: bounds for name, bounds in limits.items() if bounds is not None}
    moving = [name for name in frames[0][0] if name not in whole or declared[name] in NUMBERS]
    return [
        [(_rounded(feeds, whole), label) for feeds, label in segment]
        for segment in _segments(frames, distant, format, moving)
    ]


def _rounded(feeds: Feeds, whole: Mapping[str, tuple[int, int]]) -> Feeds:
    fitted = {
        name: np.clip(np.rint(values), *whole[name]) if name in whole else values
        for name, values in feeds.items()
    }
    return in_place_of(feeds, fitted)


def _segments(
    frames: Sequence[Labelled],
    distant: Sequence[Sequence[Labelled]],
    format: InputFormat | AudioFormat | None,
    moving: Sequence[str],
) -> list[list[Labelled]]:
    found = [spliced(distant)]
    if isinstance(format, InputFormat):
        middle, label = frames[len(frames) // 2]
        found.append([(frame, label) for frame in brightened(middle, format)])
        if label is None:
            found.append([(frame, None) for frame in panned(middle, format)])
        return found
    sequences = all(array.ndim <= 3 for array in frames[0][0].values())
    if format is None and not (moving and sequences):
        return found
    start = max(0, (len(frames) - STRETCH) // 2)
    stretch = frames[start : start + STRETCH]
    found.append(drifting(stretch, moving) if format is None else louder(stretch, format))
    found.append(noisy(stretch, moving))
    return found


def louder(frames: Sequence[Labelled], format: AudioFormat) -> list[Labelled]:
    """The stretch in a volume that rises from frame to frame."""
    axis = -1 if format.layout == "tf" else -2

    def gained(x: Values, share: float) -> Values:
        per_feature = [-1 if i == x.ndim + axis else 1 for i in range(x.ndim)]
        count = x.shape[axis] // format.width
        mean, std = (
            np.tile(np.broadcast_to(values, format.width), count).reshape(per_feature)
            for values in (format.mean, format.std)
        )
        feature = (x * std + mean) / format.scale
        amplified = _amplified(feature, VOLUME**share, format, axis)
        return np.asarray((amplified * format.scale - mean) / std, np.float32)

    return _moving(frames, {format.name: gained})


def _amplified(x: Floats, gain: float, format: AudioFormat, axis: int) -> Floats:
    """Features of sound whose samples are multiplied by a gain."""
    match format.features:
        case "samples" | "magnitude":
            return x * gain
        case "power":
            return x * gain**2
        case "mfcc":
            # The first coefficient is the log energy.
            first = np.arange(x.shape[axis]) % format.width == 0
            along = [-1 if i == x.ndim + axis else 1 for i in range(x.ndim)]
            return np.asarray(x + 2 * math.log(gain) * first.reshape(along))
        case "log_power" | "log_mel" if format.log == "10":
            return x + 2 * math.log10(gain)
        case _:
            return x + 2 * math.log(gain)


def drifting(frames: Sequence[Labelled], inputs: Sequence[str]) -> list[Labelled]:
    """The stretch with values of these inputs that all drift away by part of their standard
    deviations, as the logarithm of a spectrum does when its volume rises."""
    spreads = _spreads(frames, inputs)
    return _moving(
        frames, {name: partial(_drifted, spread=spread) for name, spread in spreads.items()}
    )


def _drifted(x: Values, share: float, *, spread: Values) -> Values:
    return x + np.float32(DRIFT * share) * spread


def noisy(frames: Sequence[Labelled], inputs: Sequence[str]) -> list[Labelled]:
    """The stretch with noise in these inputs, far below them: values hover, as nothing in a
    recording stands still."""
    random, spreads = np.random.default_rng(SEED), _spreads(frames, inputs)

    def hissed(x: Values, share: float, *, spread: Values) -> Values:
        return x + np.float32(NOISE) * spread * random.standard_normal(x.shape, np.float32)

    return _moving(
        frames, {name: partial(hissed, spread=spread) for name, spread in spreads.items()}
    )


def _spreads(frames: Sequence[Labelled], inputs: Sequence[str]) -> dict[str, Values]:
    """Standard deviation of every value, by input; at least a tenth of the mean one."""
    found = {}
    for name in inputs:
        spread = np.std([feeds[name] for feeds, _ in frames], axis=0)
        found[name] = np.maximum(spread, spread.mean() / 10)
    return found


Move = Callable[[Values, float], Values]
"""An input at a share of the way through the stretch."""


def _moving(frames: Sequence[Labelled], moves: dict[str, Move]) -> list[Labelled]:
    made: list[Labelled] = []
    for index, (feeds, label) in enumerate(frames):
        share = index / max(len(frames) - 1, 1)
        moved = {name: move(feeds[name], share).astype(np.float32) for name, move in moves.items()}
        made.append((in_place_of(feeds, {**feeds, **moved}), label))
    return made


def panned(frame: Feeds, format: InputFormat) -> list[Feeds]:
    """The frame's middle part, moving to the left and up by a fraction of a pixel per frame;
    interpolated linearly, edges repeated."""
    axes = (format.layout.index("h"), format.layout.index("w"))
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


def spliced(distant: Sequence[Sequence[Labelled]]) -> list[Labelled]:
    """Cuts between parts from far apart. Single frames are each shown twice: what a cut leaves
    behind must not last. Words that label longer parts are left out, since they are cut.

    Neighbours in time never follow each other: first, middle, second, next but middle, ...
    """
    count = min(len(distant), PARTS)
    if not count:
        return []
    picked = [distant[i] for i in np.linspace(0, len(distant) - 1, count).astype(int)]
    half = (count + 1) // 2
    order = [i // 2 + (half if i % 2 else 0) for i in range(count)]
    if all(len(part) == 1 for part in picked):
        return [item for i in order for item in (*picked[i], *picked[i])]
    return [
        (feeds, None if isinstance(label, str) else label)
        for i in order
        for feeds, label in picked[i]
    ]


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
    """Scale, mean and std, the latter two shaped like the channels of the network's input."""
    shape = [-1 if axis == "c" else 1 for axis in format.layout]
    mean = np.asarray(format.mean, np.float32).reshape(shape)
    return format.scale, mean, np.asarray(format.std, np.float32).reshape(shape)
