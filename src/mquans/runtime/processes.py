"""What sessions and streams do when their process forks, ends while other threads use them, or has
no memory left."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Protocol
from weakref import WeakSet

from mquans.errors import MquansError


@contextlib.contextmanager
def enough_memory(what: str) -> Iterator[None]:
    """Around what takes memory in proportion to the network.

    Raises:
        MquansError: there is none left.
    """
    try:
        yield
    except MemoryError:
        raise MquansError(
            f"there is not enough memory for {what}.", hint="Close other streams, or add memory."
        ) from None


class FollowsForks(Protocol):
    def follow_fork(self) -> None:
        """Called in a forked child, where no other thread exists and locks may be held by threads
        of the parent."""


_following: WeakSet[FollowsForks] = WeakSet()


def follow_forks(thing: FollowsForks) -> None:
    """Has `thing.follow_fork()` called in every child that this process is forked into."""
    _following.add(thing)


class _Calls:
    """Calls of other libraries that must not be under way while the interpreter ends."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._running = 0
        self._ending = False

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        with self._condition:
            while self._ending and threading.current_thread().daemon:
                self._condition.wait()
            self._running += 1
        try:
            yield
        finally:
            with self._condition:
                self._running -= 1
                self._condition.notify_all()

    def end(self) -> None:
        """Waits for calls under way; daemon threads begin no more."""
        with self._condition:
            self._ending = True
            while self._running:
                self._condition.wait()


_calls = _Calls()


def ending_waits() -> contextlib.AbstractContextManager[None]:
    """Around a call that releases the interpreter's lock and may not be cut off: the end of the
    interpreter waits for it."""
    return _calls.running()


def _in_child() -> None:
    global _calls
    _calls = _Calls()
    for thing in list(_following):
        thing.follow_fork()


os.register_at_fork(after_in_child=_in_child)
atexit.register(lambda: _calls.end())
