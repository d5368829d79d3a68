"""The motion gate is tuned to what it may lose; else the comparison with it is unfair."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from mquans.baselines import GatedEngine
from mquans.evaluate import tune_gate
from mquans.evaluate.interleave import Outputs
from mquans.metrics.agreement import Agreement
from mquans.sources.frames import Feeds


class Copy:
    """A dense engine whose output is its input."""

    name, threads, description = "copy", 1, "copies"

    def step(self, feeds: Feeds) -> Outputs:
        return {"y": feeds["x"]}


@pytest.fixture
def frames() -> list[Feeds]:
    """A square that moves for the first ten of twenty frames over a noisy background."""
    rng = np.random.default_rng(0)
    clip = []
    for t in range(20):
        picture = rng.normal(100, 1, (1, 3, 32, 32)).astype(np.float32)
        column = 2 * min(t, 10)
        picture[..., 8:16, column : column + 8] = 255
        clip.append({"x": picture})
    return clip


def below(limit: float) -> object:
    def accept(agreement: Agreement, shown: Sequence[Outputs]) -> bool:
        return agreement.rel_sq_p95 <= limit

    return accept


def test_quiet_frames_are_skipped_where_the_loss_allows(frames: list[Feeds]) -> None:
    dense = [{"y": frame["x"]} for frame in frames]
    tuned = tune_gate(frames, dense, below(1e-3))  # type: ignore[arg-type]
    assert 0.5 <= tuned.computed <= 0.6  # the moving half
    assert tuned.agreement.rel_sq_p95 <= 1e-3


def test_stricter_fidelity_computes_more(frames: list[Feeds]) -> None:
    dense = [{"y": frame["x"]} for frame in frames]
    shares = [tune_gate(frames, dense, below(limit)).computed for limit in (1.0, 0.1, 1e-3, 0.0)]  # type: ignore[arg-type]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (1 / 20, 1.0)


def test_change_that_the_gate_cannot_see_is_computed_all_the_same(frames: list[Feeds]) -> None:
    """It looks at every second row and column; where that is not enough it must not look better
    than it is."""
    blind = [{"x": frame["x"].copy()} for frame in frames[:1] * 6]
    for index, frame in enumerate(blind):
        frame["x"][..., 1::2, :] += index
    dense = [{"y": frame["x"]} for frame in blind]
    tuned = tune_gate(blind, dense, below(0.0))  # type: ignore[arg-type]
    assert tuned.computed == 1.0
    engine = GatedEngine(Copy(), tuned.gate)
    for frame in blind:
        engine.step(frame)
    assert engine.computed == 6


def test_tuned_gate_does_in_a_run_what_was_predicted(frames: list[Feeds]) -> None:
    dense = [{"y": frame["x"]} for frame in frames]
    tuned = tune_gate(frames, dense, below(1e-3))  # type: ignore[arg-type]
    engine = GatedEngine(Copy(), tuned.gate)
    for frame in frames:
        engine.step(frame)
    assert engine.computed == tuned.computed * len(frames)
