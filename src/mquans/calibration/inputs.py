"""Clips read once: frames to observe, and those that stay in memory."""

from __future__ import annotations

import math
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mquans.errors import SourceError
from mquans.evaluate import Track, silent
from mquans.metrics import place_label
from mquans.sources import Lookahead, Source, SourceWarning, begins, in_place_of
from mquans.sources.frames import Feeds, feeds_of, finite, network_values

Spec = str | Path | int | Iterable[Any]
"""One clip: anything `open_source` takes."""

Shape = tuple[int, ...]

Labelled = tuple[Feeds, Any]
"""A frame and its label, None without one."""

DEFAULT_FRAMES = 240
"""Time steps shared among all clips when the user names no number: as many frames, or whole
sequences of that many steps together, but at least a tenth of it."""

SMALL_BYTES = 1 << 16
SMALL_FACTOR = 20
"""Frames of at most so many bytes, such as windows of sound, come many in a second: more are used,
and kept, by this factor."""

LEAST_FRAMES = 4
"""Per clip: some to observe, and at least two, one change, to measure on."""

LEAST_LATE = 2
MOST_LATE = 160
"""Of a clip's last frames, which stay in memory."""

MOST_SAMPLED = 48
"""Runs of a clip's earlier frames that stay in memory."""


@dataclass(slots=True)
class Clip:
    """One source, read once. Only what is measured on later stays in memory.

    Attributes:
        name: of the source.
        frames: how many were usable: without NaN.
        late: its last part, with labels: what ranges are not taken from.
        sample: frames of the earlier part, in runs of consecutive ones (of one, without states)
            that are spread evenly; with their states.
    """

    name: str
    frames: int = 0
    late: list[Labelled] = field(default_factory=list)
    sample: list[Labelled] = field(default_factory=list)


def as_specs(source: Spec | Sequence[str | Path]) -> list[Spec]:
    """One clip or a list of paths as a list of clips. Arrays and iterables are one clip."""
    if isinstance(source, list | tuple) and source:
        if all(isinstance(item, str | Path) for item in source):
            return list(source)
        return [list(source)]
    if isinstance(source, str | Path | int | np.ndarray | Mapping | list):
        return [source]
    return [Lookahead(source)]


def factor_of(shapes: Mapping[str, Shape]) -> int:
    """How many times more frames of these shapes are used and kept than of pictures."""
    size = 4 * sum(math.prod(shape) for shape in shapes.values())
    return SMALL_FACTOR if size <= SMALL_BYTES else 1


def read_clip(
    clip: Clip,
    source: Source,
    inputs: Mapping[str, Shape],
    *,
    late: float,
    least: int = LEAST_FRAMES,
    run: int = 1,
    fill: Callable[[Feeds], Feeds] = lambda feeds: feeds,
    declared: Mapping[str, str] | None = None,
    labels: Sequence[Any] | None = None,
    number: Callable[[int], int] = lambda index: index,
    expected: int,
    track: Track = silent,
) -> Iterator[Feeds]:
    """Yields the earlier frames of a source one by one, and fills in the clip.

    Args:
        inputs: name and shape of every input that comes with a frame.
        late: share of the frames, from the end, that are kept in `clip.late` instead.
        least: fewest usable frames.
        run: consecutive frames that are sampled together.
        declared: types of inputs that are not of float32.
        fill: gives earlier frames their states; the frame before has been used by then.
        labels: by a frame's number before selection, which `number` gives.
        expected: number of frames, if the source does not know.

    Raises:
        SourceError: frames do not fit the network, labels run out, or there are too few frames.
    """
    total = expected if source.length is None else source.length
    most = min(factor_of(inputs) * MOST_LATE, max(LEAST_LATE, math.ceil(late * total)))
    waiting: deque[Labelled] = deque()
    refused = 0
    sampling = _Sampling(clip.sample, run)

    def oldest() -> Feeds:
        feeds, label = waiting.popleft()
        filled = fill(feeds)
        sampling.offer((filled, label))
        return filled

    for index, frame in enumerate(track(source, f"observing {source.name}", total)):
        feeds = feeds_of(frame, list(inputs))
        _check_shapes(feeds, inputs, source.name)
        feeds = _as_floats(feeds, declared or {}, source.name)
        if not finite(feeds):
            refused += 1
            continue
        clip.frames += 1
        label = place_label(_label(labels, number(index), source.name), source)
        waiting.append((feeds, label))
        if len(waiting) > most:
            yield oldest()
    _check_count(clip, refused, least)
    kept = min(len(waiting), max(LEAST_LATE, round(late * clip.frames)))
    while len(waiting) > kept:
        yield oldest()
    clip.late.extend(waiting)


class _Sampling:
    """Every n-th run of what is offered, n doubling as it grows: spread evenly, bounded in number.

    Args:
        kept: takes the items, run after run.
        length: of a run; a run does not go on from one recording to the next.
    """

    def __init__(self, kept: list[Labelled], length: int) -> None:
        self._kept, self._length = kept, length
        self._run: list[Labelled] = []
        self._every, self._seen = 1, 0

    def offer(self, item: Labelled) -> None:
        if begins(item[0]):
            self._run = []
        self._run.append(item)
        if len(self._run) < self._length:
            return
        run, self._run = self._run, []
        if self._seen % self._every == 0:
            if len(self._kept) == MOST_SAMPLED * self._length:
                runs = [self._kept[i :: self._length] for i in range(self._length)]
                halved = zip(*(row[::2] for row in runs), strict=True)
                self._kept[:] = [item for part in halved for item in part]
                self._every *= 2
            if self._seen % self._every == 0:
                self._kept += run
        self._seen += 1


def _label(labels: Sequence[Any] | None, number: int, name: str) -> Any:
    if labels is None:
        return None
    if number >= len(labels):
        raise SourceError(
            f"has no label for frame {number}: there are {len(labels)} labels.",
            where=name,
            hint="Give one label per frame of the source, or fewer frames with --frames.",
        )
    return labels[number]


def _check_count(clip: Clip, refused: int, least: int) -> None:
    if refused:
        warnings.warn(
            f"{clip.name}: {refused} frames hold NaN or infinite values and were left out.",
            SourceWarning,
            stacklevel=3,
        )
    if clip.frames < least:
        raise SourceError(
            f"has {clip.frames} usable frames; calibration needs at least {least}.",
            where=clip.name,
            hint="Give a longer clip, or a smaller --skip or --stride.",
        )


def _as_floats(feeds: Feeds, declared: Mapping[str, str], name: str) -> Feeds:
    """What a frame brings, as the engine computes with it."""
    floats = {}
    for key, value in feeds.items():
        if key not in declared and value.dtype.kind != "f":
            raise SourceError(
                f"gives {value.dtype}, but the network's input {key!r} takes float32.",
                where=name,
                hint="Convert with .astype(numpy.float32).",
            )
        floats[key] = network_values(value, declared.get(key, "float32"), where=f"{name}, {key}")
    return in_place_of(feeds, floats)


def _check_shapes(feeds: Feeds, inputs: Mapping[str, Shape], name: str) -> None:
    for key, shape in inputs.items():
        if key not in feeds:
            raise SourceError(f"has no array for the network's input {key!r}.", where=name)
        if feeds[key].shape != shape:
            raise SourceError(
                f"gives frames of shape {list(feeds[key].shape)}, but the network's input {key!r} "
                f"is {list(shape)}.",
                where=name,
                hint="If it takes frames of that shape, say so with --input-shape "
                f"{key}:{','.join(map(str, feeds[key].shape))}; else give others.",
            )
