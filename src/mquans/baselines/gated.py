"""A dense engine behind a motion gate: what people do today to save work on a quiet camera.

The network runs only on frames in which enough pixels have moved since the last frame that it ran
on; in between, its last outputs are repeated. The difference is taken to the last frame *computed*,
not to the one before: slow motion then adds up until it passes the gate, where the usual gate never
opens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mquans.baselines.protocol import Arrays, Engine
from mquans.errors import MquansError

LEVEL = 25 / 255
"""Share of the range of values by which a moved pixel differs: the usual threshold for camera
noise, 25 grey levels of 255."""

SHARE = 0.005
"""Share of the pixels that must have moved."""


@dataclass(frozen=True, slots=True)
class Gate:
    """When a frame is computed.

    Attributes:
        level: a pixel has moved when a channel of it differs by more, in the input's units.
        share: of the pixels of an input that must have moved, 0 to 1; a frame passes with more.
            Below 0 every frame passes.
    """

    level: float
    share: float

    def __str__(self) -> str:
        if self.share < 0:
            return "on every frame"
        return (
            f"only on frames in which more than {self.share:.2%} of the pixels moved by more than "
            f"{self.level:g}, last outputs repeated otherwise"
        )

    def opens(self, frame: Arrays, computed: Arrays) -> bool:
        """True when the frame differs enough from the last one that was computed."""
        return self.share < 0 or any(
            moved_share(frame[name], computed[name], self.level) > self.share for name in frame
        )


def moved_share(
    frame: npt.NDArray[np.floating], before: npt.NDArray[np.floating], level: float
) -> float:
    """Share of the pixels of which a channel differs by more than `level`.

    Of pictures [1, C, H, W] every second row and column is looked at, as a user in a hurry would;
    in inputs of other ranks every value is a pixel.
    """
    if frame.ndim == 4:
        frame, before = frame[..., ::2, ::2], before[..., ::2, ::2]
    moved = np.asarray(np.abs(frame - before) > level)
    pixels = np.any(moved, axis=1) if moved.ndim == 4 else moved
    return float(np.count_nonzero(pixels) / max(pixels.size, 1))


def value_range(frames: Sequence[Arrays]) -> float:
    """Largest less smallest value in frames; levels of a gate are shares of it."""
    values = [value for frame in frames for value in frame.values()]
    return float(max(v.max() for v in values)) - float(min(v.min() for v in values))


def default_gate(frames: Sequence[Arrays]) -> Gate:
    """`LEVEL` and `SHARE` for a stream of which some frames are given.

    Raises:
        MquansError: there are none.
    """
    if not frames:
        raise MquansError(
            "engine gated takes its level from calibration frames, and there are none.",
            hint="Give frames of the stream, or compare with other engines only.",
        )
    return Gate(LEVEL * value_range(frames), SHARE)


class GatedEngine:
    """An `Engine`: another one behind a gate.

    Attributes:
        frames, computed: number of frames seen, and of those that passed the gate.
    """

    def __init__(self, engine: Engine, gate: Gate) -> None:
        self.name = "gated"
        self.threads = engine.threads
        self.description = f"{engine.description}; {gate}"
        self.frames = self.computed = 0
        self._engine = engine
        self._gate = gate
        self._frame: dict[str, npt.NDArray[np.floating]] = {}
        self._outputs: dict[str, npt.NDArray[np.float32]] = {}

    def step(self, feeds: Arrays) -> dict[str, npt.NDArray[np.float32]]:
        """Outputs by name: of this frame, or once more those of the last frame computed.

        Raises:
            ModelError: as the engine behind the gate.
        """
        self.frames += 1
        if not self._frame or self._gate.opens(feeds, self._frame):
            self._outputs = self._engine.step(feeds)
            self._frame = {name: value.copy() for name, value in feeds.items()}
            self.computed += 1
        return {name: value.copy() for name, value in self._outputs.items()}

    def reset(self) -> None:
        """Begin a new stream: its first frame is computed; counts go on."""
        self._engine.reset()
        self._frame, self._outputs = {}, {}
