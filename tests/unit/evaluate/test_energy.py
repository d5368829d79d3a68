"""Energy counters: read where they are, never guessed where they are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

import mquans
from mquans.errors import MquansError
from mquans.evaluate.energy import (
    UNAVAILABLE,
    EnergyMeter,
    frame_energy,
    joules_per_call,
    packages,
)
from mquans.onnx import read_model


def counter(folder: Path, name: str, microjoules: int, reach: int = 10**9) -> Path:
    entry = folder / name
    entry.mkdir()
    (entry / "name").write_text(f"{name}\n")
    (entry / "max_energy_range_uj").write_text(str(reach))
    (entry / "energy_uj").write_text(str(microjoules))
    return entry


def test_sockets_only(tmp_path: Path) -> None:
    """Parts of a socket, and sums over sockets of other drivers, would count twice."""
    counter(tmp_path, "intel-rapl:0", 5)
    counter(tmp_path, "intel-rapl:0:0", 5)
    counter(tmp_path, "intel-rapl:1", 5)
    (tmp_path / "intel-rapl").mkdir()
    (tmp_path / "intel-rapl:2").mkdir()  # unreadable
    assert [entry.name for entry in packages(tmp_path)] == ["intel-rapl:0", "intel-rapl:1"]


def test_counter_that_wraps(tmp_path: Path) -> None:
    entry = counter(tmp_path, "intel-rapl:0", 900, reach=999)
    meter = EnergyMeter(packages(tmp_path))
    meter.start()
    (entry / "energy_uj").write_text("100")
    assert meter.stop() == pytest.approx(200e-6)


def test_idle_power_is_taken_off(tmp_path: Path) -> None:
    entry = counter(tmp_path, "intel-rapl:0", 0)

    def work() -> None:
        (entry / "energy_uj").write_text(str(int((entry / "energy_uj").read_text()) + 1000))

    meter = EnergyMeter(packages(tmp_path))
    assert joules_per_call(work, meter=meter, least_s=0.01) == pytest.approx(1e-3)


def test_machine_without_counters(
    session: mquans.Session, small_model: Path, small_frames: npt.NDArray[np.float32]
) -> None:
    """An estimate under the same name would be taken for a measurement."""
    found = frame_energy(session, read_model(small_model), small_frames, [], counters=[])
    assert found == UNAVAILABLE == "not available on this machine"
    with pytest.raises(MquansError, match="not available on this machine"):
        EnergyMeter([])
