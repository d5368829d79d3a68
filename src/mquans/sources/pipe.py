"""Standard input and named pipes: bytes as they come, which nobody can wind back."""

from __future__ import annotations

import os
import select
import stat
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mquans.errors import SourceError
from mquans.files import printable, reason
from mquans.sources.selection import Selection

if TYPE_CHECKING:
    from mquans.sources.source import Reader

STANDARD_INPUT = ("-", "/dev/stdin")

_NOTICED_WITHIN_S = 0.2
"""An end that a signal handler has set."""


class Pipe:
    """Bytes from a file descriptor, for readers of our own and for FFmpeg, which takes it for a
    file.

    FFmpeg passes no Ctrl-C on from within a read. So there is an end of the bytes instead, and
    whoever reads calls `check` before it believes in that.

    Attributes:
        name: for messages.
    """

    def __init__(self, descriptor: int, *, name: str) -> None:
        self.name = name
        self._descriptor = descriptor
        # Sources that nobody closes end with their last user.
        self._release = weakref.finalize(self, os.close, descriptor) if descriptor else None
        self._ready = select.poll()
        self._ready.register(descriptor, select.POLLIN)
        self._whole = stat.S_ISREG(os.fstat(descriptor).st_mode)
        self._head = b""
        self._ended = False
        self._interrupt: BaseException | None = None

    def read(self, size: int) -> bytes:
        """At least one byte and at most `size`, as soon as there are any; none at the end."""
        if self._head:
            head, self._head = self._head[:size], self._head[size:]
            return head
        try:
            while not self._ended:
                if self._ready.poll(_NOTICED_WITHIN_S * 1000):
                    return os.read(self._descriptor, size)
        except OSError:
            pass  # such as a connection that was reset: what came is what there is
        except BaseException as interrupt:
            self._interrupt = interrupt
        self._ended = True  # FFmpeg asks again behind an end
        return b""

    def exactly(self, size: int) -> bytes:
        """So many bytes, fewer only at the end."""
        data = b""
        while len(data) < size and (piece := self.read(size - len(data))):
            data += piece
        return data

    def unread(self, data: bytes) -> None:
        """What was read last is read again."""
        if self._whole:
            os.lseek(self._descriptor, -len(data), os.SEEK_CUR)
        else:
            self._head = data + self._head

    def seekable(self) -> bool:
        """Is it a file after all, as behind `<`?"""
        return self._whole

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return os.lseek(self._descriptor, offset, whence)

    def tell(self) -> int:
        return os.lseek(self._descriptor, 0, os.SEEK_CUR)

    def end(self) -> None:
        """No more bytes; safe in signal handlers."""
        self._ended = True

    def check(self) -> None:
        """Raises what ended the bytes, if it was no end: Ctrl-C, or a signal."""
        if self._interrupt is not None:
            raise self._interrupt

    def close(self) -> None:
        """Again without effect: the number may be that of another file by then. Standard input
        stays open."""
        self._ended, self._descriptor = True, 0
        if self._release is not None:
            self._release()


class PipeReader:
    """What a reader makes of a pipe, until it ends or somebody ends it.

    Args:
        hint: for who gets no item at all.
    """

    total = None

    def __init__(self, reader: Reader, pipe: Pipe, *, hint: str | None = None) -> None:
        self.name = reader.name
        self._reader, self._pipe, self._hint = reader, pipe, hint

    def frames(self, selection: Selection) -> Iterator[Any]:
        """Items of the reader.

        Raises:
            SourceError: as the reader; there is none.
        """
        begun = False
        for item in self._reader.frames(selection):
            self._pipe.check()
            begun = True
            yield item
        self._pipe.check()
        if not begun:
            raise SourceError("gave no frame.", where=self.name, hint=self._hint)

    def end(self) -> None:
        """From a signal handler: what has come so far is all."""
        self._pipe.end()

    def close(self) -> None:
        self._reader.close()
        self._pipe.close()


def standard_input() -> Pipe:
    """The bytes of standard input, of which there is at least one.

    Raises:
        SourceError: it is a terminal, closed or empty.
    """
    name = "standard input"
    hint = (
        "Pipe a stream into it, such as: arecord -t raw -f S16_LE -r 16000 | mquans run ... "
        "--source - --pcm s16le:16000"
    )
    # Another file may have taken the place of what was closed before Python began.
    if sys.__stdin__ is None:
        raise SourceError("is closed.", where=name, hint=hint)
    if os.isatty(0):
        raise SourceError("is a terminal.", where=name, hint=hint)
    return _begun(Pipe(0, name=name), f"It can be read only once. {hint}")


def open_pipe(path: Path) -> Pipe:
    """The bytes of a named pipe or file, of which there is at least one; waits for who writes.

    Raises:
        SourceError: it cannot be read, or is empty.
    """
    name = printable(str(path))
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise SourceError(f"cannot be read: {reason(error)}", where=name) from error
    return _begun(Pipe(descriptor, name=name), "A pipe can be read only once.")


def _begun(pipe: Pipe, hint: str) -> Pipe:
    first = pipe.read(1)
    if not first:
        pipe.close()
        pipe.check()
        raise SourceError("is empty: not a single byte came.", where=pipe.name, hint=hint)
    pipe.unread(first)
    return pipe
