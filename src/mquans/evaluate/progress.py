"""How long steps tell that they are getting on, without knowing about terminals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")


class Track(Protocol):
    """Passes items through and shows how many have gone by."""

    def __call__(self, items: Iterable[T], label: str, total: int | None) -> Iterator[T]:
        """The items, unchanged and in order; `total` of them if that is known."""


def silent(items: Iterable[T], label: str, total: int | None) -> Iterator[T]:
    """A `Track` that shows nothing."""
    del label, total
    return iter(items)
