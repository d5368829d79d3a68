"""What every dense engine can do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

Arrays = Mapping[str, npt.NDArray[Any]]


@runtime_checkable
class Engine(Protocol):
    """A network that is computed anew for every frame (by `gated`, for every frame that moved).
    States of recurrent networks are kept between frames.

    Attributes:
        name: one of `ENGINES`.
        threads: number of threads it computes with.
        description: version and options, for reports: what was measured.
    """

    name: str
    threads: int
    description: str

    def step(self, feeds: Arrays) -> dict[str, npt.NDArray[np.float32]]:
        """Outputs by name, in the model's order, for one frame of inputs by name; states are no
        part of the frame."""

    def reset(self) -> None:
        """Begin a new stream: forget all frames."""
