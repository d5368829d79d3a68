"""From what the user names (model, clips, sizes) to fixed shapes and prepared frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mquans.calibration.inputs import Shape, Spec
from mquans.errors import SourceError
from mquans.onnx import ModelFile, declared_inputs, metadata_of, takes_integers
from mquans.plan import AudioFormat, InputFormat, NetworkOptions
from mquans.sources import (
    first_of,
    guess_audio_format,
    guess_format,
    is_pipe,
    is_sound,
    is_video,
    open_source,
)
from mquans.sources.frames import feeds_of
from mquans.sources.presets import VALUES, preset_of

Format = InputFormat | AudioFormat

SOUND_FIELDS = {"rate", "features", "front_end"}
"""Of a preparation, that only sound has."""

WINDOW_FIELDS = {"window", "hop"}
"""Of a preparation of sound, or of pictures for a network that takes several at once."""

VIDEO_RANK = 5
"""Axes of an input that takes windows of pictures."""


@dataclass(frozen=True, slots=True)
class InputSetup:
    """How frames reach the network.

    Attributes:
        options: how the model is run; `input_shapes` has the fixed shape of every input that needs
            one beyond what the model declares.
        fed: inputs that come with every frame.
        format: of pictures or sound; None when the source holds ready tensors.
        unsaid: nobody said how large the values of pictures are, so they stay 0 to 255.
    """

    options: NetworkOptions
    fed: tuple[str, ...]
    format: Format | None
    unsaid: bool = False


def resolve_inputs(
    model: ModelFile,
    spec: Spec | None,
    *,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    constants: Mapping[str, float] | None = None,
    feedback: Mapping[str, str] | None = None,
    carry_state: bool = False,
    input: Format | Mapping[str, Any] | None = None,
) -> InputSetup:
    """Fixes shapes and preparation from the model, the user's wishes and the first clip.

    Args:
        spec: a clip; only its first frame is looked at, and only if it may hold ready tensors. None
            without one: frames are then prepared only if any of their preparation is given.
        input_shapes: the user's; they win over what the model declares.
        constants, carry_state: see `NetworkOptions`.
        feedback: state inputs by the output that feeds them; None if that is to be guessed. Then
            the first input is fed, or what ready frames hold.
        input: preparation of pictures or sound, or fields of it (see `InputFormat` and
            `AudioFormat`) over what is guessed.

    Raises:
        SourceError: frames do not fit the network's inputs, or a size is missing.
    """
    given = {name: tuple(shape) for name, shape in (input_shapes or {}).items()}
    declared = {**declared_inputs(model), **given}
    shapes = {name: s for name, s in declared.items() if name not in (constants or {})}
    fed = tuple(name for name in shapes if name not in (feedback or {}))
    tensor = None if spec is None else _first_tensor(spec, shapes, fed)
    format: Format | None = None
    unsaid = False
    if isinstance(tensor, Mapping):
        fed = tuple(name for name in fed if name in tensor) or fed
    elif feedback is None:
        named = input.name if isinstance(input, Format) else (input or {}).get("name")
        fed = (named,) if named in shapes else fed[:1]
    shape = shapes.get(fed[0], ()) if fed else ()
    unseen = spec is None or tensor is not None
    # Of a video or pipe, pictures or sound may be meant, and windows of either.
    video = is_video(spec) or is_pipe(spec)
    sound = is_sound(spec) or ((unseen or video) and _is_sound(input, shape, windows=not video))
    if (tensor is None and (spec is not None or input)) or sound:
        whole = bool(fed) and takes_integers(model, fed[0])
        if (
            not (sound or whole)
            and not isinstance(input, Format)
            and VALUES.isdisjoint(input or {})
        ):
            guessed = preset_of(metadata_of(model))
            unsaid = guessed is None
            input = {"preset": guessed, **(input or {})}
        format = _format(shapes, fed, given, input, sound=sound)
        if whole and isinstance(format, InputFormat):
            _check_unscaled(format)
        shapes = {**shapes, format.name: format.shape}
    if tensor is not None:
        feeds = feeds_of(tensor, fed)
        if unknown := [name for name in feeds if name not in declared]:
            raise SourceError(
                f"has an array {unknown[0]!r}, which is no input of the network.",
                where="first frame",
                hint=f"Its inputs are: {', '.join(declared)}.",
            )
        for name, array in feeds.items():
            if name in shapes and name not in given and len(shapes[name]) == array.ndim:
                dims = zip(shapes[name], array.shape, strict=True)
                shapes[name] = tuple(found if dim is None else dim for dim, found in dims)
    options = NetworkOptions(_fixed(shapes), constants or {}, feedback or {}, carry_state)
    return InputSetup(options, fed, format, unsaid)


def _first_tensor(
    spec: Spec, shapes: Mapping[str, tuple[int | None, ...]], fed: Sequence[str]
) -> Any:
    """The first frame if the clip holds ready tensors; None for pictures and sound."""
    if isinstance(spec, int) or (
        isinstance(spec, str | Path) and Path(spec).suffix.lower() not in (".npy", ".npz")
    ):
        return None
    first = first_of(spec)
    if isinstance(first, np.ndarray) and first.dtype == np.uint8:
        return None
    ranks = {name: [dim or 1 for dim in shapes[name]] for name in fed}
    with open_source(spec, input_shapes=ranks, frames=1) as source:
        try:
            return next(source)
        except SourceError:
            if isinstance(first, Mapping):
                raise
            # Pictures; whatever else is wrong is found again when the clip is read.
            return None


def _format(
    shapes: Mapping[str, tuple[int | None, ...]],
    fed: Sequence[str],
    given: Mapping[str, Shape],
    input: Format | Mapping[str, Any] | None,
    *,
    sound: bool,
) -> Format:
    """Preparation for the input that takes pictures or sound, guessed where the user says
    nothing."""
    if isinstance(input, InputFormat | AudioFormat):
        format = input
    else:
        check_one_fed(fed)
        fields = dict(input or {})
        name = fields.pop("name", fed[0])
        guess = guess_audio_format if sound else guess_format
        format = guess(name, shapes.get(name, ()), **fields)
    if format.name in given and given[format.name] != format.shape:
        raise SourceError(
            f"--input-shape gives {list(given[format.name])}, but frames are prepared as "
            f"{list(format.shape)}.",
            where=format.name,
            hint="Give only one of --input-shape and what sets the size of frames.",
        )
    return format


def _check_unscaled(format: InputFormat) -> None:
    if (format.scale, set(format.mean), set(format.std)) != (1.0, {0.0}, {1.0}):
        raise SourceError(
            "takes integers, but --scale, --mean and --std make fractions of pixels.",
            where=f"input {format.name!r}",
            hint="Leave them out: pictures go in as they are, from 0 to 255.",
        )


def _is_sound(
    input: Format | Mapping[str, Any] | None, shape: Sequence[int | None], *, windows: bool
) -> bool:
    """Whether a preparation for an input of this shape is one of sound; windows say so only where
    they cannot be of pictures. It is kept in the plan even where ready features bypass it: a
    microphone may come later."""
    if isinstance(input, Mapping):
        of_sound = windows and len(shape) != VIDEO_RANK
        fields = SOUND_FIELDS | WINDOW_FIELDS if of_sound else SOUND_FIELDS
        return not fields.isdisjoint(input)
    return isinstance(input, AudioFormat)


def check_one_fed(fed: Sequence[str]) -> None:
    """Refuse pictures and sound for several inputs.

    Raises:
        SourceError
    """
    if len(fed) != 1:
        raise SourceError(
            f"the network has {len(fed)} inputs; pictures and sound can feed only one.",
            hint=f"Give an .npz file with the arrays {', '.join(fed)}, or say which are states "
            "(--state IN=OUT) or never change (--constant NAME=VALUE).",
        )


def _fixed(shapes: Mapping[str, tuple[int | None, ...]]) -> dict[str, Shape]:
    """Shapes without open dimensions; the importer says what to do about the others."""
    fixed = {}
    for name, shape in shapes.items():
        batched = (1, *shape[1:]) if shape and shape[0] is None else shape
        dims = tuple(dim for dim in batched if dim is not None)
        if len(dims) == len(shape):
            fixed[name] = dims
    return fixed
