"""If these break, a server that runs for months grows, or spends its time on memory."""

from __future__ import annotations

import gc
import weakref

import pytest

from mquans.serve.process import environment
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


def test_memory_of_frames_stays_with_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the kernel clears it anew for every frame. Who has set something else knows why."""
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    monkeypatch.setenv("MALLOC_ARENA_MAX", "4")
    found = environment()
    assert int(found["MALLOC_TRIM_THRESHOLD_"]) > 1 << 20
    assert found["MALLOC_ARENA_MAX"] == "4"
    assert found["OMP_NUM_THREADS"] == "1"
