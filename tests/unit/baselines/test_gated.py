"""If these break, the trick that people use today is shown slower or less faithful than it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mquans.baselines import Gate, GatedEngine, open_engine
from mquans.baselines.gated import default_gate, moved_share, value_range
from mquans.errors import MquansError
from mquans.onnx.model_file import ModelFile
from mquans.plan import NetworkOptions

Array = npt.NDArray[np.float32]
SHAPES = {"x": (1, 3, 8, 8), "gain": (1, 4, 1, 1)}


class Doubler:
    """A dense engine that counts its calls."""

    name, threads, description = "double", 1, "doubles"

    def __init__(self) -> None:
        self.calls = 0

    def step(self, feeds: Any) -> dict[str, Array]:
        self.calls += 1
        return {"y": 2 * feeds["x"]}


def frame(value: float, pixels: int = 0) -> dict[str, Array]:
    """A picture of 16 pixels that are looked at, the first `pixels` of them at `value`."""
    picture = np.zeros((1, 3, 8, 8), np.float32)
    seen = picture[0, 1, ::2, ::2]
    seen[np.arange(16).reshape(4, 4) < pixels] = value
    return {"x": picture}


def test_quiet_frames_repeat_the_last_outputs() -> None:
    inner = Doubler()
    engine = GatedEngine(inner, Gate(level=0.5, share=1 / 16))
    for pixels, calls in [(0, 1), (1, 1), (2, 2), (2, 2), (0, 3)]:
        outputs = engine.step(frame(1.0, pixels))
        assert inner.calls == calls
    assert np.array_equal(outputs["y"], np.zeros((1, 3, 8, 8)))
    assert (engine.frames, engine.computed) == (5, 3)


def test_slow_motion_adds_up() -> None:
    """Against the last frame, a slow pan would never be seen and the output would stay frozen."""
    inner = Doubler()
    engine = GatedEngine(inner, Gate(level=0.5, share=0.0))
    for step in range(8):
        engine.step(frame(0.2 * step, 16))
    assert inner.calls == 3  # at 0, 0.6 and 1.2


def test_who_writes_into_outputs_does_not_spoil_the_next_ones() -> None:
    engine = GatedEngine(Doubler(), Gate(level=0.5, share=0.0))
    engine.step(frame(1.0, 16))["y"][:] = 9
    assert engine.step(frame(1.0, 16))["y"].max() == 2


def test_a_frame_that_is_reused_as_buffer_is_still_seen_to_move() -> None:
    """Capture loops fill one array again and again."""
    engine = GatedEngine(Doubler(), Gate(level=0.5, share=0.0))
    feeds = frame(0.0)
    engine.step(feeds)
    feeds["x"][:] = 1
    assert engine.step(feeds)["y"].max() == 2


def test_share_counts_pixels_not_channels() -> None:
    still = frame(0.0)["x"]
    assert moved_share(frame(1.0, 4)["x"], still, 0.5) == 0.25
    assert moved_share(np.ones((1, 4)), np.array([[1, 1, 0, 1]]), 0.5) == 0.25


def test_default_gate_scales_with_the_values(model: ModelFile, feeds: list[Any]) -> None:
    """Pictures come as 0 to 255 or as 0 to 1."""
    bright = [{name: 255 * value for name, value in feed.items()} for feed in feeds]
    assert default_gate(bright).level == pytest.approx(255 * default_gate(feeds).level)
    assert value_range([{"a": np.array([-1.0]), "b": np.array([3.0])}]) == 4
    engine = open_engine("gated", model, NetworkOptions(SHAPES), calibration=feeds)
    engine.step(feeds[0])
    assert isinstance(engine, GatedEngine)
    assert "0.50% of the pixels" in engine.description


def test_gate_without_frames_says_what_is_missing(model: ModelFile) -> None:
    with pytest.raises(MquansError, match="engine gated takes its level from calibration frames"):
        open_engine("gated", model, NetworkOptions(SHAPES))
