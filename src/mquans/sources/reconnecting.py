"""Cameras that fall away and come back."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from mquans.errors import SourceError
from mquans.sources.selection import Selection
from mquans.sources.warning import SourceWarning

if TYPE_CHECKING:
    from mquans.sources.source import Reader

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 1.0
"""Between two attempts to connect again; the pauses double."""

AWAY_LIMIT_S = 300.0
"""How long a camera may be away."""


class ReconnectingReader:
    """Items of a camera, which is opened again whenever it breaks off or falls silent.

    A gap is no new beginning: what the network remembers of the pictures before it stays, and the
    engine compares the next picture with them, as with any other.

    Args:
        reader: the camera, opened: that it can be is known before a long run begins.
        open: opens it again.
        pause: waits so many seconds; true if the source was closed meanwhile.
        clock: seconds.
    """

    total = None

    def __init__(
        self,
        reader: Reader,
        open: Callable[[], Reader],
        *,
        pause: Callable[[float], bool],
        away_limit_s: float = AWAY_LIMIT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = reader.name
        self._reader, self._open = reader, open
        self._pause, self._clock = pause, clock
        self._away_limit_s = away_limit_s

    def frames(self, selection: Selection) -> Iterator[Any]:
        """What the camera gives, before and after gaps, each of which is told of by a
        `SourceWarning`.

        Raises:
            SourceError: it has been away for too long.
        """
        return selection.apply(self._items())

    def close(self) -> None:
        self._reader.close()

    def _items(self) -> Iterator[Any]:
        seen_s, pause_s = self._clock(), FIRST_PAUSE_S
        gaps, gone = 0, False
        while True:
            lost: SourceError | None
            try:
                for item in self._reader.frames(Selection()):
                    if gone:
                        self._warn(f"is back after {self._clock() - seen_s:.1f} s (gap {gaps}).")
                        gone = False
                    yield item
                    seen_s, pause_s = self._clock(), FIRST_PAUSE_S
                return
            except SourceError as error:
                lost = error
            self._reader.close()
            if not gone:
                gaps, gone = gaps + 1, True
                # The number keeps Python from leaving out what was said before in the same words.
                self._warn(f"{lost.what} Connecting again (gap {gaps}).")
            while lost is not None:
                if self._clock() - seen_s > self._away_limit_s:
                    raise SourceError(
                        f"was away for more than {self._away_limit_s:g} s: {lost.what}",
                        where=self.name,
                    )
                if self._pause(pause_s):
                    return
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
                lost = self._opened()

    def _opened(self) -> SourceError | None:
        """Opens the camera again; the error if that fails."""
        try:
            self._reader = self._open()
        except SourceError as error:
            return error
        return None

    def _warn(self, what: str) -> None:
        warnings.warn(f"{self.name}: {what}", SourceWarning, stacklevel=3)
