"""Windows of consecutive pictures, for networks that see movement."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from mquans.errors import SourceError
from mquans.sources.arrays import is_ready
from mquans.sources.selection import Selection

if TYPE_CHECKING:
    from mquans.sources.source import Reader


class WindowReader:
    """Windows of another reader's pictures, as tuples. One is held, whatever comes.

        pictures             0 1 2 3 4 5 6 7
        window 3, hop 2      0 1 2
                                 2 3 4
                                     4 5 6     what does not fill a window is left out

    Ready tensors, which are whole windows, pass through.
    """

    def __init__(self, reader: Reader, window: int, hop: int) -> None:
        self.name = reader.name
        self.total = None
        if reader.total is not None:
            self.total = max(0, (reader.total - window) // hop + 1)
        self._reader, self._window, self._hop = reader, window, hop

    def frames(self, selection: Selection) -> Iterator[Any]:
        """Tuples of pictures as the reader gives them; the selection counts tuples.

        Raises:
            SourceError: there are too few pictures for a window.
        """
        return selection.apply(self._windows())

    def close(self) -> None:
        self._reader.close()

    def _windows(self) -> Iterator[Any]:
        held: deque[Any] = deque(maxlen=self._window)
        seen = 0
        for item in self._reader.frames(Selection()):
            if is_ready(item):
                yield item
                continue
            # The memory of an array may be used again for the next picture.
            held.append(item.copy() if isinstance(item, np.ndarray) else item)
            seen += 1
            if seen >= self._window and (seen - self._window) % self._hop == 0:
                yield tuple(held)
        if 0 < seen < self._window:
            raise SourceError(
                f"holds {seen} pictures, fewer than a window of {self._window}.", where=self.name
            )
