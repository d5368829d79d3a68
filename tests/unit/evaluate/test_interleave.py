"""Engines share the machine frame by frame; else ratios compare moments, not engines."""

from __future__ import annotations

import numpy as np
import pytest

from mquans.errors import SourceError
from mquans.evaluate.interleave import Outputs, Step, interleave, speedups, take_turns
from mquans.sources.frames import Feeds


def test_order_rotates() -> None:
    """None may always come after the one that leaves the caches worst."""
    calls: list[str] = []

    def step(name: str) -> Step:
        def run(feeds: Feeds) -> Outputs:
            calls.append(name)
            return {"y": feeds["x"]}

        return run

    frames = [{"x": np.ones((1, 2), np.float32)}] * 3
    interleave({name: step(name) for name in "abc"}, frames, reference="a")
    assert "".join(calls) == "abcbcacab"


def test_every_engine_is_compared_with_the_reference() -> None:
    steps: dict[str, Step] = {
        "dense": lambda feeds: {"y": feeds["x"]},
        "same": lambda feeds: {"y": feeds["x"]},
        "half": lambda feeds: {"y": feeds["x"] / 2},
    }
    frames = [{"x": np.full((1, 2), value, np.float32)} for value in (1.0, 3.0)]
    found = interleave(steps, frames, reference="dense")
    assert set(found.agreement) == {"same", "half"}
    assert found.agreement["same"].rel_sq_mean == 0
    assert found.agreement["half"].rel_sq_mean == pytest.approx(0.25)
    assert all(len(times) == 2 for times in found.times_ms.values())


def test_gated_is_compared_by_means() -> None:
    """Its median is the time of a skipped frame as soon as more than half are skipped."""
    time_ms = {
        "mquans": {"median": 2.0, "mean": 2.5},
        "ort-fp32": {"median": 10.0, "mean": 11.0},
        "gated": {"median": 0.1, "mean": 5.0},
    }
    assert speedups(time_ms, "mquans") == {"ort-fp32": 5.0, "gated": 2.0}
    assert speedups(time_ms, "mquans", motion_gate=True) == {"ort-fp32": 4.4, "gated": 2.0}


def test_no_frame_is_an_error_for_people() -> None:
    with pytest.raises(SourceError, match="no frame could be compared"):
        interleave({"dense": lambda feeds: {}}, [], reference="dense")


def test_engines_take_turns_of_several_frames() -> None:
    """Alternating frame by frame, each engine would find the caches full of another's weights."""
    seen: list[str] = []

    def step(name: str) -> Step:
        def run(feeds: Feeds) -> Outputs:
            seen.append(name)
            return {}

        return run

    frames = [{"x": np.zeros(1, np.float32)}] * 5
    times = take_turns({name: step(name) for name in "ab"}, frames, turn=2)
    assert "".join(seen) == "aabb" + "bbaa" + "ab"
    assert {name: len(each) for name, each in times.items()} == {"a": 5, "b": 5}
