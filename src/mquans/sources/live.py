"""Keeping up with a camera: only the newest frame is worth computing."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from mquans.sources.selection import Selection

if TYPE_CHECKING:
    from mquans.sources.source import Reader

T = TypeVar("T")

_NOTICED_WITHIN_S = 0.2
"""An end that a signal handler has set."""


class LiveReader:
    """The newest items of another reader; those that are not taken in time are dropped.

    Args:
        timeout_s: for closing; how long the reader may take for an item.
        closing: set when nothing more is wanted, for readers that wait.
    """

    total = None

    def __init__(
        self, reader: Reader, timeout_s: float, closing: threading.Event | None = None
    ) -> None:
        self.name = reader.name
        self._reader = reader
        self._timeout_s = timeout_s
        self._closing = threading.Event() if closing is None else closing
        self._newest: Newest[Any] | None = None

    def frames(self, selection: Selection) -> Iterator[Any]:
        """What is newest whenever one is asked for; the selection counts what is handed over."""
        self._newest = Newest(self._reader.frames(Selection()))
        return selection.apply(self._newest)

    def end(self) -> None:
        """Hand over no more, from a signal handler: whoever waits for an item finds the end."""
        if self._newest is not None:
            self._newest.ended = True

    def close(self) -> None:
        self._closing.set()
        # Closing under a thread that still waits for data would crash; it ends with the program.
        if self._newest is None or self._newest.close(self._timeout_s):
            self._reader.close()


class Newest(Generic[T]):
    """Reads `items` on a thread of its own and hands over the newest whenever one is asked for.

        camera     0 1 2 3 4 5 6 7 8
        consumer   0------3----5----8     a frame that is not taken in time is dropped

    Without this, frames that come faster than they are computed queue up in the network, and what
    is shown lags further and further behind. Ends, and errors of `items`, are passed on after the
    last frame has been taken.

    Attributes:
        dropped: number of frames that came but were not handed over.
        ended: nothing more is handed over. May be set by a signal handler, which must not take
            locks.
    """

    def __init__(self, items: Iterable[T]) -> None:
        self.dropped = 0
        self._items = items
        self._changed = threading.Condition()
        self._waiting: list[T] = []
        self._error: BaseException | None = None
        self.ended = False
        # A daemon, since a camera that has fallen silent may hold it up for its whole timeout.
        self._thread = threading.Thread(target=self._read, name="mquans-camera", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        while True:
            with self._changed:
                while not self._changed.wait_for(
                    lambda: self._waiting or self.ended, timeout=_NOTICED_WITHIN_S
                ):
                    pass
                if not self._waiting:
                    if self._error is not None:
                        raise self._error
                    return
                item = self._waiting.pop()
            yield item

    def close(self, timeout_s: float) -> bool:
        """Stop reading; waits at most `timeout_s` for the frame that is being read.

        Returns:
            whether reading has stopped, so that what is read from may be closed.
        """
        with self._changed:
            self.ended = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _read(self) -> None:
        error: BaseException | None = None
        try:
            for item in self._items:
                with self._changed:
                    if self.ended:
                        return
                    self.dropped += len(self._waiting)
                    self._waiting[:] = [item]
                    self._changed.notify_all()
        except Exception as caught:
            error = caught
        with self._changed:
            self._error = error
            self.ended = True
            self._changed.notify_all()
