"""If these break, somebody buys machines that do not suffice, or twice too many."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from mquans.errors import MquansError
from mquans.serve.capacity import BUSY, SERVER, CameraCost, Capacity, plan_capacity
from mquans.serve.config import CameraOptions, Config, ModelOptions

COST = CameraCost(read_ms=2.0, step_ms=8.0, dense_ms=18.0, fps=5)


def config(spots: ModelOptions, **sources: CameraOptions) -> Config:
    return Config(models={"spots": spots}, cameras=sources)


def test_cores_are_counted_with_room_to_spare() -> None:
    assert COST.share == pytest.approx(SERVER * 5 * 10e-3)
    assert COST.dense_share == pytest.approx(SERVER * 5 * 20e-3)
    found = Capacity(40, {"a": COST}, {}, 40 * COST.share, 40 * COST.dense_share, 8, 1)
    assert found.fit == int(BUSY * 8 / COST.share)
    assert found.dense_fit == int(BUSY * 8 / COST.dense_share)
    assert found.needed_cores * BUSY >= 40 * COST.share > (found.needed_cores - 1) * BUSY
    assert found.dense_cores > found.needed_cores


def test_some_cameras_stand_for_all_at_their_own_rates(spots: ModelOptions, clip: Path) -> None:
    """The fifth is not measured, and is computed ten times as often."""
    camera = CameraOptions(source=str(clip), model="spots", fps=2, loop=True)
    cameras = dict.fromkeys(("a", "b", "c", "d"), camera)
    found = plan_capacity(config(spots, **cameras, e=replace(camera, fps=20.0)), 4, seconds=5)
    assert list(found.costs) == ["a", "b", "c"]
    for cost in found.costs.values():
        assert min(cost.read_ms, cost.step_ms, cost.dense_ms) > 0
        assert cost.fps == 2
    mean = sum(cost.share for cost in found.costs.values()) / 3
    assert found.shares == pytest.approx(3 * mean + mean + 10 * mean)
    assert found.fit > 0
    assert found.memory_bytes > 0


def test_a_camera_that_is_away_does_not_count_but_is_told_of(
    spots: ModelOptions, clip: Path, tmp_path: Path
) -> None:
    there = CameraOptions(source=str(clip), model="spots")
    away = replace(there, source=str(tmp_path / "away.mp4"))
    found = plan_capacity(config(spots, away=away, there=there), 1, seconds=2)
    assert list(found.costs) == ["there"]
    assert "there is no such file" in found.failed["away"]
    with pytest.raises(MquansError, match=r"no camera of the model spots could be measured"):
        plan_capacity(config(spots, away=away), 1, seconds=2)
