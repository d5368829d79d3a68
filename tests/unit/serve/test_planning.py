"""If these break, a server starts that runs out of memory at night, or one that fits is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from mquans.errors import MquansError
from mquans.serve.config import CameraOptions, Config, GuardOptions, ModelOptions, ServerOptions
from mquans.serve.measuring import Measured
from mquans.serve.planning import free_memory, needed_bytes, plan_config, usable_cores


def config(spots: ModelOptions, **camera: object) -> Config:
    options = CameraOptions(source="rtsp://nowhere", model="spots", **camera)  # type: ignore[arg-type]
    return Config(models={"spots": spots}, cameras={"a": options}, server=ServerOptions(workers=1))


def test_a_model_is_measured(measured: Measured) -> None:
    assert measured.macs == 16 * 24 * (1 + 2 + 2) * 48
    assert measured.stream_bytes > 64 * 96 * 3 * 2
    assert [(one.name, one.shape) for one in measured.inputs] == [("x", (1, 3, 64, 96))]
    assert [one.name for one in measured.outputs] == ["heat", "size", "offset"]


def test_memory_that_does_not_suffice_is_told_before_anything_starts(spots: ModelOptions) -> None:
    with pytest.raises(MquansError, match=r"cameras: 1, workers: 1.*and 50 MB are free"):
        plan_config(config(spots), free_bytes=50 << 20)


def test_a_plan_that_cannot_be_read_is_told_with_the_models_name(spots: ModelOptions) -> None:
    wrong = replace(spots, plan="/nowhere.json")
    with pytest.raises(MquansError, match=r"model spots: .*no such file"):
        plan_config(config(wrong), free_bytes=1 << 40)


def test_a_decoder_of_another_network_is_told_before_anything_starts(spots: ModelOptions) -> None:
    """Every frame would fail, on a page that shows a camera as live."""
    wrong = replace(spots, decode="yolox")
    with pytest.raises(MquansError, match=r"'yolox' does not read outputs such as heat \[1, 1"):
        plan_config(config(wrong), free_bytes=1 << 40)


def test_guards_and_workers_count(spots: ModelOptions, measured: Measured) -> None:
    models = {"spots": measured}
    plain = needed_bytes(config(spots), models, 1)
    assert needed_bytes(config(spots), models, 2) > plain + measured.weights_bytes
    guarded = config(spots, guard=GuardOptions(max_loss=0.1))
    assert needed_bytes(guarded, models, 1) == plain + measured.stream_bytes


@pytest.mark.parametrize(("limit", "free"), [("1000000", 400000), ("max", 2048000)])
def test_the_limit_of_a_container_counts(tmp_path: Path, limit: str, free: int) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    2000 kB\n")
    (tmp_path / "sys/fs/cgroup/memory.max").write_text(limit)
    (tmp_path / "sys/fs/cgroup/memory.current").write_text("600000")
    assert free_memory(tmp_path) == free


def test_the_limit_of_a_unit_counts(tmp_path: Path) -> None:
    """systemd's MemoryMax= and CPUQuota= are in a group of its own, and a slice may have others."""
    unit = tmp_path / "sys/fs/cgroup/system.slice/mquans.service"
    unit.mkdir(parents=True)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/system.slice/mquans.service\n")
    (tmp_path / "proc/meminfo").write_text("MemAvailable:    2000 kB\n")
    (unit / "memory.max").write_text("max")
    (unit.parent / "memory.max").write_text("500000")
    (unit.parent / "memory.current").write_text("100000")
    (unit / "cpu.max").write_text("150000 100000")
    assert free_memory(tmp_path) == 400000
    assert usable_cores(tmp_path) == min(2, len(os.sched_getaffinity(0)))


@pytest.mark.parametrize(
    ("quota", "cores"), [("max 100000", 64), ("250000 100000", 3), ("10000 100000", 1)]
)
def test_workers_are_as_many_as_a_container_may_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, cores: int
) -> None:
    """Sixty-four workers in a container of three cores would each get a twentieth of the time."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/cpu.max").write_text(quota)
    assert usable_cores(tmp_path) == cores
