"""Frames by input name, as both our engine and the dense ones take them, and where recordings
begin."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from mquans.errors import FrameError
from mquans.graph import LARGEST_INTEGER
from mquans.plan import Feedback, InputFormat, pixel_values

Feeds = dict[str, npt.NDArray[Any]]
"""float32; of pictures also uint8, see `Stream.step`."""


TIMES = "frame.time_s"
"""Name of the array of times beside the outputs of a run (`NpzWriter`); never an input."""


class FirstFrame(Feeds):
    """Inputs with which a recording begins: what a network or a stream remembers of the frames
    before does not belong to it. Any iterable of frames may hold such."""


def begins(frame: object) -> bool:
    """Does a new recording begin with this frame?"""
    return isinstance(frame, FirstFrame)


def in_place_of(frame: object, values: Mapping[str, npt.NDArray[Any]]) -> Feeds:
    """The values as a frame that begins a recording where `frame` does."""
    return FirstFrame(values) if begins(frame) else dict(values)


def feeds_of(
    frame: npt.NDArray[Any] | Mapping[str, npt.NDArray[Any]], inputs: Sequence[str]
) -> Feeds:
    """One frame of a source as arrays by input name; a `FirstFrame` stays one.

    Raises:
        FrameError: one array for a network of several inputs.
    """
    if isinstance(frame, Mapping):
        return in_place_of(frame, frame)
    if len(inputs) != 1:
        raise FrameError(
            f"the source gives one array per frame, but the network has {len(inputs)} inputs.",
            hint=f"Give an .npz file with the arrays {', '.join(inputs)}.",
        )
    return {inputs[0]: frame}


def states_at(frame: object, states: Feedback) -> Feedback:
    """The states with which a frame is run: new ones, of zeros, where a recording begins."""
    return states.anew() if begins(frame) else states


def as_floats(feeds: Mapping[str, npt.NDArray[Any]], format: InputFormat | None) -> Feeds:
    """A frame as dense engines take it: pixels as the values that they stand for."""
    return {
        name: pixel_values(value, format) if format and value.dtype == np.uint8 else value
        for name, value in feeds.items()
    }


def limits_of(dtype: str) -> tuple[int, int] | None:
    """Least and largest number that an input of integers or truth values holds; None of floats."""
    if dtype in ("float16", "bfloat16", "float32", "float64"):
        return None
    return (0, 1) if dtype == "bool" else (np.iinfo(dtype).min, np.iinfo(dtype).max)


def network_values(values: npt.NDArray[Any], dtype: str, *, where: str) -> npt.NDArray[np.float32]:
    """What a frame brings to an input of another type than float32, as the engine computes with it.

    Args:
        dtype: of the input in the model's file. Floats go into floats of any width; integers also
            into floats, and floats that are whole numbers into integers, as prepared pictures are.

    Raises:
        FrameError: the input's type does not hold the values, or float32 does not.
    """
    limits = limits_of(dtype)
    if values.dtype.kind not in "biuf":
        raise FrameError(f"expected {dtype} values, got {values.dtype}.", where=where)
    with np.errstate(over="ignore"):  # too large for float32 becomes inf, which streams refuse
        floats = np.asarray(values, np.float32, order="C")
    # What is not finite is refused where frames are taken.
    if limits is None or not floats.size or not np.isfinite(floats).all():
        return floats
    low, high = limits
    least, most = values.min(), values.max()
    whole = bool((floats == np.rint(floats)).all())
    if least < low or most > high or not whole:
        raise FrameError(
            f"the input takes {dtype}, which does not hold the frame's values from {least:g} to "
            f"{most:g}{'' if whole else ', with fractions'}.",
            where=where,
            hint="Give whole numbers that it holds; bytes of pictures need uint8 or wider.",
        )
    if max(-int(least), int(most)) > LARGEST_INTEGER:
        raise FrameError(
            f"the engine computes in float32, which holds integers up to {LARGEST_INTEGER} "
            f"exactly, and the frame's go from {least} to {most}.",
            where=where,
            hint="Count from a later start, or export the model with this input as float.",
        )
    return floats


def finite(feeds: Mapping[str, npt.NDArray[Any]]) -> bool:
    """False for a frame that a stream would refuse because it holds NaN or infinite values."""
    return all(bool(np.isfinite(value).all()) for value in feeds.values())


@dataclass(frozen=True, slots=True)
class Timed:
    """A frame whose reader knows its time, see `Source.time_s`."""

    feeds: Feeds
    time_s: float


class Numbered(NamedTuple):
    """A frame of a source: its number from 0, and whether a recording begins with it. The first of
    all begins one."""

    number: int
    feeds: Feeds
    first: bool


def numbered(
    frames: Iterable[npt.NDArray[Any] | Mapping[str, npt.NDArray[Any]]], inputs: Sequence[str] = ()
) -> Iterator[Numbered]:
    """Frames by input name, in order.

    Args:
        inputs: of the network; needed for frames that are single arrays.

    Raises:
        FrameError: as `feeds_of`.
    """
    for number, frame in enumerate(frames):
        feeds = feeds_of(frame, inputs)
        yield Numbered(number, feeds, number == 0 or begins(feeds))


class Resettable(Protocol):
    """What remembers frames: a dense engine, or a stream."""

    def reset(self) -> None: ...


def resetting(engines: Iterable[Resettable], frames: Iterable[Numbered]) -> Iterator[Feeds]:
    """The frames, for engines that forget what was before where a recording begins."""
    engines = tuple(engines)
    for frame in frames:
        if frame.first:
            for engine in engines:
                engine.reset()
        yield frame.feeds
