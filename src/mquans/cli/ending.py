"""Streams without end, which a signal ends."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from mquans.sources import Source

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class EndedBySignals:
    """While a camera, microphone or pipe is read, the first signal ends it as if it had ended by
    itself: what was computed is written. A second one interrupts, as the first does for all other
    sources.

    Attributes:
        code: for the shell: 0 for Ctrl-C, which is how such a run ends.
    """

    def __init__(self, source: Source) -> None:
        self.code = 0
        self._source = source
        self._before = {
            number: handler for number in _SIGNALS if callable(handler := signal.getsignal(number))
        }

    def __enter__(self) -> Self:
        if self._source.live:
            for number in self._before:
                signal.signal(number, self._end)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()

    def _end(self, number: int, frame: FrameType | None) -> None:
        self._restore()
        if not self._source.end():
            handler = self._before[signal.Signals(number)]
            assert callable(handler)
            handler(number, frame)
        self.code = 0 if number == signal.SIGINT else 128 + number

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
