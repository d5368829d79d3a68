"""A plan and a session for the small network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import mquans


@pytest.fixture(scope="module")
def plan(
    small_model: Path, small_frames: npt.NDArray[np.float32], value_plan: Callable[..., mquans.Plan]
) -> mquans.Plan:
    return value_plan(small_model, small_frames)


@pytest.fixture
def session(small_model: Path, plan: mquans.Plan) -> mquans.Session:
    # Left to itself the engine keeps accumulators only where that pays: in none of these layers.
    return mquans.Session(small_model, plan)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Quantized models are cached; not in the user's own folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
