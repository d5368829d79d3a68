"""From what the user names (model, clips, sizes) to fixed shapes and frames in memory."""

from __future__ import annotations

import math
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from mquans.errors import SourceError
from mquans.evaluate import Feeds, Track, feeds_of, finite, silent
from mquans.importers import ModelFile, declared_inputs
from mquans.plan import InputFormat
from mquans.sources import Source, SourceWarning, guess_format, open_source

Spec = str | Path | int | Iterable[Any]
"""One clip: anything `open_source` takes."""

Shape = tuple[int, ...]

Labelled = tuple[Feeds, Any]
"""A frame and its label, None without one."""

DEFAULT_FRAMES = 240
"""Shared among all clips when the user names no number."""

LEAST_FRAMES = 4
"""Per clip: some to observe, and at least two, one change, to measure on."""

LEAST_LATE = 2
MOST_LATE = 160
"""Of a clip's last frames, which stay in memory."""

MOST_SAMPLED = 48
"""Of a clip's earlier frames that stay in memory."""


@dataclass(frozen=True, slots=True)
class InputSetup:
    """How frames reach the network.

    Attributes:
        shapes: fixed shape of every input that needs one beyond what the model declares.
        format: of pictures; None when the source holds ready tensors.
    """

    shapes: dict[str, Shape]
    format: InputFormat | None


@dataclass(slots=True)
class Clip:
    """One source, read once. Only what is measured on later stays in memory.

    Attributes:
        name: of the source.
        frames: how many were usable: without NaN.
        late: its last part, with labels: what ranges are not taken from.
        sample: frames of the earlier part, spread evenly.
    """

    name: str
    frames: int = 0
    late: list[Labelled] = field(default_factory=list)
    sample: list[Labelled] = field(default_factory=list)


def as_specs(source: Spec | Sequence[str | Path]) -> list[Spec]:
    """One clip or a list of paths as a list of clips. Arrays and iterables are one clip; they are
    read into memory as far as calibration may need them."""
    if isinstance(source, list | tuple) and source:
        if all(isinstance(item, str | Path) for item in source):
            return list(source)
        return [list(source)]
    if isinstance(source, str | Path | int | np.ndarray | Mapping):
        return [source]
    return [source if isinstance(source, list) else list(islice(source, 4 * DEFAULT_FRAMES))]


def resolve_inputs(
    model: ModelFile,
    spec: Spec,
    *,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    input: InputFormat | Mapping[str, Any] | None = None,
) -> InputSetup:
    """Fixes shapes and picture preparation from the model, the user's wishes and the first clip.

    Args:
        spec: a clip; only its first frame is looked at, and only if it may hold ready tensors.
        input_shapes: the user's; they win over what the model declares.
        input: preparation of pictures, or fields of it (see `InputFormat`) over what is guessed.

    Raises:
        SourceError: pictures do not fit the network's inputs, or a size is missing.
    """
    declared = declared_inputs(model)
    given = {name: tuple(shape) for name, shape in (input_shapes or {}).items()}
    shapes: dict[str, tuple[int | None, ...]] = {**declared, **given}
    tensor = _first_tensor(spec, shapes)
    if tensor is not None:
        for name, array in tensor.items():
            if name in shapes and name not in given and len(shapes[name]) == array.ndim:
                declared_dims = zip(shapes[name], array.shape, strict=True)
                shapes[name] = tuple(found if dim is None else dim for dim, found in declared_dims)
        return InputSetup(_fixed(shapes), None)
    format = _picture_format(shapes, given, input)
    return InputSetup(_fixed({**shapes, format.name: _picture_shape(format)}), format)


def resolve_shapes(
    model: ModelFile,
    *,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    input: InputFormat | Mapping[str, Any] | None = None,
) -> dict[str, Shape]:
    """Fixed shapes of inputs without a clip: the user's, and those of pictures if any of their
    preparation is given.

    Raises:
        SourceError: as `resolve_inputs`.
    """
    given = {name: tuple(shape) for name, shape in (input_shapes or {}).items()}
    if not input:
        return given
    format = _picture_format({**declared_inputs(model), **given}, given, input)
    return {**given, format.name: _picture_shape(format)}


def read_clip(
    clip: Clip,
    source: Source,
    inputs: Mapping[str, Shape],
    *,
    late: float,
    least: int = LEAST_FRAMES,
    labels: Sequence[Any] | None = None,
    number: Callable[[int], int] = lambda index: index,
    expected: int,
    track: Track = silent,
) -> Iterator[Feeds]:
    """Yields the earlier frames of a source one by one, and fills in the clip.

    Args:
        inputs: name and shape of every input of the imported network.
        late: share of the frames, from the end, that are kept in `clip.late` instead.
        least: fewest usable frames.
        labels: by a frame's number before selection, which `number` gives.
        expected: number of frames, if the source does not know.

    Raises:
        SourceError: frames do not fit the network, labels run out, or there are too few frames.
    """
    total = expected if source.length is None else source.length
    room = min(MOST_LATE, max(LEAST_LATE, math.ceil(late * total)))
    waiting: deque[Labelled] = deque()
    refused = 0
    sampling = _Sampling(clip.sample)
    for index, frame in enumerate(track(source, f"observing {source.name}", total)):
        feeds = feeds_of(frame, list(inputs))
        _check_shapes(feeds, inputs, source.name)
        if not finite(feeds):
            refused += 1
            continue
        clip.frames += 1
        waiting.append((feeds, _label(labels, number(index), source.name)))
        if len(waiting) > room:
            sampling.offer(waiting[0])
            yield waiting.popleft()[0]
    _check_count(clip, refused, least)
    kept = min(len(waiting), max(LEAST_LATE, round(late * clip.frames)))
    while len(waiting) > kept:
        sampling.offer(waiting[0])
        yield waiting.popleft()[0]
    clip.late.extend(waiting)


class _Sampling:
    """Every n-th of what is offered, n doubling as it grows: spread evenly, bounded in number."""

    def __init__(self, kept: list[Labelled]) -> None:
        self._kept, self._every, self._seen = kept, 1, 0

    def offer(self, item: Labelled) -> None:
        if self._seen % self._every == 0:
            if len(self._kept) == MOST_SAMPLED:
                del self._kept[1::2]
                self._every *= 2
            if self._seen % self._every == 0:
                self._kept.append(item)
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


def _first_tensor(spec: Spec, shapes: Mapping[str, tuple[int | None, ...]]) -> Feeds | None:
    """The first frame if the clip holds ready tensors, by input name; None for pictures."""
    if isinstance(spec, int) or (
        isinstance(spec, str | Path) and Path(spec).suffix.lower() not in (".npy", ".npz")
    ):
        return None
    if isinstance(spec, list | np.ndarray) and len(spec):
        first = spec[0]
        if isinstance(first, np.ndarray) and first.dtype == np.uint8:
            return None
    ranks = {name: [dim or 1 for dim in shape] for name, shape in shapes.items()}
    with open_source(spec, input_shapes=ranks, frames=1) as source:
        try:
            frame = next(source)
        except SourceError:
            # Pictures; whatever else is wrong is found again when the clip is read.
            return None
    return feeds_of(frame, list(shapes))


def _picture_format(
    shapes: Mapping[str, tuple[int | None, ...]],
    given: Mapping[str, Shape],
    input: InputFormat | Mapping[str, Any] | None,
) -> InputFormat:
    """Preparation for the input that takes pictures, guessed where the user says nothing."""
    if isinstance(input, InputFormat):
        format = input
    else:
        if len(shapes) != 1:
            raise SourceError(
                f"the network has {len(shapes)} inputs; pictures can feed only one.",
                hint=f"Give an .npz file with the arrays {', '.join(shapes)}.",
            )
        name, shape = next(iter(shapes.items()))
        format = guess_format(name, shape, **(input or {}))
    made = _picture_shape(format)
    if format.name in given and given[format.name] != made:
        raise SourceError(
            f"--input-shape gives {list(given[format.name])}, but pictures are prepared as "
            f"{list(made)}.",
            where=format.name,
            hint="Give only one of --input-shape and --size.",
        )
    return format


def _picture_shape(format: InputFormat) -> Shape:
    channels = 1 if format.color == "gray" else 3
    if format.layout == "nchw":
        return (1, channels, format.height, format.width)
    return (1, format.height, format.width, channels)


def _fixed(shapes: Mapping[str, tuple[int | None, ...]]) -> dict[str, Shape]:
    """Shapes without open dimensions; the importer says what to do about the others."""
    fixed = {}
    for name, shape in shapes.items():
        batched = (1, *shape[1:]) if shape and shape[0] is None else shape
        dims = tuple(dim for dim in batched if dim is not None)
        if len(dims) == len(shape):
            fixed[name] = dims
    return fixed


def _check_shapes(feeds: Feeds, inputs: Mapping[str, Shape], name: str) -> None:
    for key, shape in inputs.items():
        if key not in feeds:
            raise SourceError(f"has no array for the network's input {key!r}.", where=name)
        if feeds[key].shape != shape:
            raise SourceError(
                f"gives frames of shape {list(feeds[key].shape)}, but the network's input {key!r} "
                f"is {list(shape)}.",
                where=name,
                hint=f"Fix the shape with --input-shape {key}:{','.join(map(str, shape))}, "
                "or give frames of that shape.",
            )
