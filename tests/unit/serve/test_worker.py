"""If these break, a server that runs for months grows."""

from __future__ import annotations

import gc
import weakref

from mquans.serve.worker import tidy


class Picture:
    """Lies in a cycle, as decoded frames may."""

    def __init__(self) -> None:
        self.itself = self


def test_what_lies_in_cycles_is_given_back() -> None:
    gc.disable()
    try:
        gone = weakref.ref(Picture())
        assert gone() is not None
        tidy()
        assert gone() is None
    finally:
        gc.enable()
