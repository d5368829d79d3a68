"""From what the user names (model, clips, sizes) to fixed shapes and frames in memory."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from mquans.errors import SourceError
from mquans.evaluate import Feeds, Track, feeds_of, finite, silent
from mquans.importers import ModelFile, declared_inputs
from mquans.plan import InputFormat
from mquans.sources import SourceWarning, guess_format, open_source

Spec = str | Path | int | Iterable[Any]
"""One clip: anything `open_source` takes."""

Shape = tuple[int, ...]

DEFAULT_FRAMES = 240
"""Shared among all clips when the user names no number; frames are kept in memory."""

LEAST_FRAMES = 4
"""Per clip: some to observe, and at least two, one change, to measure on."""


@dataclass(frozen=True, slots=True)
class InputSetup:
    """How frames reach the network.

    Attributes:
        shapes: fixed shape of every input that needs one beyond what the model declares.
        format: of pictures; None when the source holds ready tensors.
    """

    shapes: dict[str, Shape]
    format: InputFormat | None


@dataclass(frozen=True, slots=True)
class Clip:
    """Frames of one source, without those that hold NaN."""

    name: str
    frames: list[Feeds]

    def split(self, held_out: float) -> tuple[list[Feeds], list[Feeds]]:
        """(frames to observe, later frames to measure on); at least two of the latter."""
        later = max(2, round(len(self.frames) * held_out))
        return self.frames[:-later], self.frames[-later:]


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


def load_clips(
    specs: Sequence[Spec],
    setup: InputSetup,
    inputs: Mapping[str, Shape],
    *,
    frames: int | None = None,
    skip: int = 0,
    stride: int = 1,
    track: Track = silent,
) -> list[Clip]:
    """Reads clips into memory.

    Args:
        inputs: name and shape of every input of the imported network.
        frames: per clip; by default `DEFAULT_FRAMES` shared among all.
        skip, stride: as `open_source`.

    Raises:
        SourceError: a clip cannot be read, does not fit the network, or has too few frames.
    """
    per_clip = frames or max(LEAST_FRAMES, DEFAULT_FRAMES // len(specs))
    clips = []
    for spec in specs:
        with open_source(
            spec, setup.format, input_shapes=inputs, frames=per_clip, skip=skip, stride=stride
        ) as source:
            kept, refused = [], 0
            total = per_clip if source.length is None else source.length
            for frame in track(source, f"reading {source.name}", total):
                feeds = feeds_of(frame, list(inputs))
                _check_shapes(feeds, inputs, source.name)
                if finite(feeds):
                    kept.append(feeds)
                else:
                    refused += 1
        if refused:
            warnings.warn(
                f"{source.name}: {refused} frames hold NaN or infinite values and were left out.",
                SourceWarning,
                stacklevel=2,
            )
        if len(kept) < LEAST_FRAMES:
            raise SourceError(
                f"has {len(kept)} usable frames; calibration needs at least {LEAST_FRAMES}.",
                where=source.name,
                hint="Give a longer clip, or a smaller --skip or --stride.",
            )
        clips.append(Clip(source.name, kept))
    return clips


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
