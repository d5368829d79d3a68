"""Several clips as one source, each a recording of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mquans.errors import SourceError
from mquans.sources.selection import Selection
from mquans.sources.unreadable import Unreadable

if TYPE_CHECKING:
    from mquans.sources.source import Reader

VIDEO_SUFFIXES = frozenset(
    (".mp4", ".m4v", ".mkv", ".webm", ".avi", ".mov", ".mpg", ".mpeg", ".ts", ".wmv", ".flv",
     ".ogv", ".3gp", ".y4m")
)  # fmt: skip
"""What is taken for video in folders and globs; a single file may be called anything."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A picture, or a window of pictures, of one of several clips."""

    item: Any
    first: bool
    """Of those that are taken from its clip."""


class ClipsReader:
    """Clips in the order given, one open at a time.

    Args:
        paths: at least one.
        open: makes the reader of one.
        unreadable: meets clips that cannot be read.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        open: Callable[[Path], Reader],
        unreadable: Unreadable,
        *,
        name: str,
    ) -> None:
        self.name = name
        self._paths, self._open, self._unreadable = paths, open, unreadable
        totals = list(map(self._total, paths))
        self.total = None if None in totals else sum(total or 0 for total in totals)

    def frames(self, selection: Selection) -> Iterator[Recorded]:
        """What the clips hold; the selection counts on from one to the next.

        Raises:
            SourceError: as `unreadable`; a clip cannot be read (named).
        """
        playing = None
        for clip, item in selection.apply(self._items()):
            yield Recorded(item, first=clip != playing)
            playing = clip
        self._unreadable.tell(self.name, len(self._paths))

    def close(self) -> None:
        self._paths = ()

    def _total(self, path: Path) -> int | None:
        try:
            with closing(self._open(path)) as reader:
                return reader.total
        except SourceError:
            if not self._unreadable.skips:
                raise
            return 0  # met when it is its turn

    def _items(self) -> Iterator[tuple[int, Any]]:
        for clip, path in enumerate(self._paths):
            try:
                with closing(self._open(path)) as reader:
                    for item in reader.frames(Selection()):
                        yield clip, item
            except SourceError as error:
                self._unreadable.meet(error)
