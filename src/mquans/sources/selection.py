"""Which frames of a source are used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from mquans.errors import SourceError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Selection:
    """Leave out the first `skip` frames, then take every `stride`-th, at most `frames` of them.

        frames of the source   0 1 2 3 4 5 6 7 8 9
        skip 2, stride 3           2     5     8
        ... frames 2               2     5

    Raises:
        SourceError: a number is out of range.
    """

    frames: int | None = None
    skip: int = 0
    stride: int = 1

    def __post_init__(self) -> None:
        for name, value, least in (
            ("frames", self.frames, 1),
            ("skip", self.skip, 0),
            ("stride", self.stride, 1),
        ):
            if value is not None and value < least:
                raise SourceError(f"--{name} must be at least {least}, not {value}.")

    @property
    def stop(self) -> int | None:
        """Index behind the last frame that is read; None when the source's end decides."""
        return None if self.frames is None else self.skip + (self.frames - 1) * self.stride + 1

    def apply(self, items: Iterable[T]) -> Iterator[T]:
        """The selected items; nothing behind the last of them is read."""
        return islice(items, self.skip, self.stop, self.stride)

    def indices(self, total: int) -> range:
        """Positions of the selected frames in a source of `total` frames."""
        return range(total)[self.skip : self.stop : self.stride]
