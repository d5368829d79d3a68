"""Live playlists: what comes in bursts, at the pace at which it was taken."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, Self

from mquans.errors import SourceError
from mquans.sources.selection import Selection
from mquans.sources.video import VideoReader

_FARTHEST_S = 30.0
"""By which pictures may be early, late, or shown before; beyond, their clock was set anew."""


class PlaylistReader:
    """Pictures of a live HLS playlist. Its segments come whole, seconds of pictures at once, of
    which a `LiveReader` would hand over the last ones only; so each waits for its time.

        segments      |012345      |6789ab
        handed on     |0 1 2 3 4 5 |6 7 8 9 a b

    A playlist that is finished ends the stream; that is no fault.

    Args:
        video: opened.
        open: opens the playlist again.
        pause: waits so many seconds; true if the source was closed meanwhile.
        clock: seconds.
    """

    total = None

    def __init__(
        self,
        video: VideoReader,
        open: Callable[[], VideoReader],
        *,
        pause: Callable[[float], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = video.name
        self._video, self._open = video, open
        self._pause, self._clock = pause, clock
        self._shown_s: float | None = None
        self._shown_before_s: float | None = None
        """What was shown until the playlist was opened again."""

    def frames(self, selection: Selection) -> Iterator[Any]:
        """Decoded frames, as they are due.

        Raises:
            SourceError: the stream breaks off, or nothing new is listed for too long.
        """
        return selection.apply(self._items())

    def again(self) -> Self:
        """The playlist opened again; what it still lists of pictures that were shown is left out.

        Raises:
            SourceError: it cannot be opened.
        """
        self._video = self._open()
        self._shown_before_s = self._shown_s
        return self

    def close(self) -> None:
        self._video.close()

    def _items(self) -> Iterator[Any]:
        if not self._video.live:
            return  # finished while it was away: what is listed was shown, or is of the past
        begin_s: float | None = None
        try:
            for picture in self._video.frames(Selection()):
                if picture.time is not None:
                    if self._was_shown(picture.time):
                        continue
                    self._shown_s = picture.time
                    now_s = self._clock()
                    if begin_s is None or abs(begin_s + picture.time - now_s) > _FARTHEST_S:
                        begin_s = now_s - picture.time
                    early_s = begin_s + picture.time - now_s
                    if early_s > 0 and self._pause(early_s):
                        return
                yield picture
        except SourceError:
            if not self._finished():
                raise

    def _was_shown(self, time_s: float) -> bool:
        """Before the playlist was opened again?"""
        before_s = self._shown_before_s
        if before_s is not None and 0 <= before_s - time_s <= _FARTHEST_S:
            return True
        self._shown_before_s = None
        return False

    def _finished(self) -> bool:
        """Does the playlist say so? The decoder ends alike when its server is gone."""
        try:
            with closing(self._open()) as again:
                return not again.live
        except SourceError:
            return False
