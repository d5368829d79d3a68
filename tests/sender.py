"""Somebody who writes into a named pipe, as slowly as a test wants."""

from __future__ import annotations

import os
import queue
import threading
from contextlib import suppress
from pathlib import Path


class Sender:
    """Writes into a named pipe, step by step, on a thread of its own."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        self._pieces: queue.Queue[bytes | None] = queue.Queue()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def send(self, data: bytes) -> None:
        self._pieces.put(data)

    def end(self) -> None:
        self._pieces.put(None)

    def _write(self) -> None:
        with suppress(BrokenPipeError), self.path.open("wb", buffering=0) as pipe:
            while (piece := self._pieces.get()) is not None:
                pipe.write(piece)
