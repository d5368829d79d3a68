"""Arrays as frames: .npy and .npz files, and anything Python can iterate over."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mquans.errors import SourceError
from mquans.files import printable, reason
from mquans.sources.frames import TIMES, in_place_of
from mquans.sources.selection import Selection

Item = npt.NDArray[Any] | dict[str, npt.NDArray[Any]]


def is_ready(item: object) -> bool:
    """Is an item of a reader no picture, but a tensor or several by input name?"""
    return isinstance(item, Mapping) or (isinstance(item, np.ndarray) and item.dtype != np.uint8)


def first_of(items: object) -> object:
    """The first item, as far as it can be had without taking it; else None."""
    if isinstance(items, Lookahead):
        return items.first
    return items[0] if isinstance(items, Sequence | np.ndarray) and len(items) else None


class ArrayReader:
    """Frames that lie along the first axis of an array, or of several arrays by input name.

    Attributes:
        ready: they are no pictures.
    """

    def __init__(
        self, arrays: npt.NDArray[Any] | Mapping[str, npt.NDArray[Any]], *, name: str
    ) -> None:
        self.name = name
        self.ready = is_ready(arrays)
        self._arrays = arrays
        named = {"": arrays} if isinstance(arrays, np.ndarray) else dict(arrays)
        for key, array in named.items():
            if array.ndim == 0:
                raise SourceError(
                    "a single number is no sequence of frames.", where=f"{name} {key}".strip()
                )
            if array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] in (3, 4):
                raise SourceError(
                    f"is one picture of {array.shape[1]}x{array.shape[0]}, no sequence of them.",
                    where=f"{name} {key}".strip(),
                    hint="Give frames along a first axis: picture[numpy.newaxis].",
                )
            if array.dtype.kind not in "biufO":
                raise SourceError(
                    f"holds {array.dtype}, not numbers.", where=f"{name} {key}".strip()
                )
        lengths = {key: len(array) for key, array in named.items()}
        if len(set(lengths.values())) != 1:
            raise SourceError(
                f"the arrays hold different numbers of frames: {lengths}."
                if lengths
                else "there is no array in it.",
                where=name,
            )
        self.total = next(iter(lengths.values()))

    def frames(self, selection: Selection) -> Iterator[Item]:
        for index in selection.indices(self.total):
            if isinstance(self._arrays, np.ndarray):
                yield self._arrays[index]
            else:
                yield {name: array[index] for name, array in self._arrays.items()}

    def close(self) -> None:
        self._arrays = {}


class Lookahead:
    """The items of an iterable, to be gone through once. Arrays are copied: whoever gives them may
    give the same memory again, with the next picture in it.

    Attributes:
        first: the first item, before any is taken; None where there is none.
    """

    def __init__(self, items: Iterable[object]) -> None:
        self._rest = map(_copy, items)
        self._head = list(islice(self._rest, 1))
        self.first = self._head[0] if self._head else None

    def __iter__(self) -> Iterator[object]:
        yield from self._head
        yield from self._rest


def _copy(item: object) -> object:
    if isinstance(item, Mapping):
        return in_place_of(item, {str(name): np.array(value) for name, value in item.items()})
    return item.copy() if isinstance(item, np.ndarray) else item


class IterableReader:
    """Frames from any iterable: pictures, ready tensors, or dicts of tensors by input name.

    Attributes:
        ready: they are known to be no pictures.
    """

    name = "frames"

    def __init__(self, items: Iterable[object]) -> None:
        self.total = len(items) if isinstance(items, Sized) else None
        self.ready = is_ready(first_of(items))
        self._items = items

    def frames(self, selection: Selection) -> Iterator[Item]:
        for item in selection.apply(self._items):
            if isinstance(item, Mapping):
                arrays = {str(name): np.asarray(value) for name, value in item.items()}
                yield in_place_of(item, arrays)
            else:
                yield np.asarray(item)

    def close(self) -> None:
        self._items = ()


def read_array_file(path: Path) -> ArrayReader:
    """A reader of an .npy or .npz file.

    An .npy file is mapped, not loaded, so it may be larger than memory. An .npz file holds one
    array, or one per network input, named like it; times beside the outputs of a run are no input.

    Raises:
        SourceError: unreadable, damaged, or holding Python objects (never unpickled).
    """
    name = printable(str(path))
    try:
        loaded = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return ArrayReader(loaded, name=name)
        with loaded:
            arrays = {key: loaded[key] for key in loaded.files if key != TIMES}
    except MemoryError as error:
        raise SourceError("holds more than fits into memory.", where=name) from error
    except OSError as error:
        why = reason(error) if error.errno else f"{printable(str(error))}."
        raise SourceError(f"cannot be read: {why}", where=name) from error
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile, NotImplementedError) as error:
        raise SourceError(
            f"is not a sound array file: {printable(str(error)).rstrip('.')}.", where=name
        ) from error
    return ArrayReader(
        next(iter(arrays.values())) if len(arrays) == 1 else arrays,
        name=name,
    )
