"""What a configuration asks for, known before anything starts: every model read once, in a process
of its own so that the supervisor stays small, and memory and work counted."""

from __future__ import annotations

import contextlib
import math
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from mquans.errors import MquansError
from mquans.serve.config import CameraOptions, Config, ModelOptions
from mquans.serve.measuring import Failure, Measured, Request, decode_answer, encode_request
from mquans.serve.wire import CameraJob, EngineName, ModelJob

WORKER_BYTES = 120 << 20
"""Of a worker before it has a model, with some room: 80 MB were measured."""

CAMERA_BYTES = 40 << 20
"""Of a camera besides its stream: decoder and pictures."""

SPARE = 0.95
"""Share of the memory that is free which may be planned for."""

MIB = 1 << 20


class Planned(msgspec.Struct, frozen=True):
    """A configuration that can be run.

    Attributes:
        models: by the name that the file gives them.
        workers: processes on this machine.
        bytes_needed: for all of it.
    """

    config: Config
    models: dict[str, Measured]
    engine: EngineName
    workers: int
    bytes_needed: int


def job_of(
    name: str, camera: CameraOptions, model: ModelJob, *, epoch: int, **more: Any
) -> CameraJob:
    """What a worker is told of a camera."""
    return CameraJob(
        name=name,
        epoch=epoch,
        source=camera.source,
        model=model,
        fps=camera.fps,
        stall_s=camera.stall_s,
        retry_s=camera.retry_s,
        loop=camera.loop,
        guard=None if camera.guard is None else (camera.guard.max_loss, camera.guard.every),
        **more,
    )


def plan_config(
    config: Config, engine: EngineName = "mquans", *, free_bytes: int | None = None
) -> Planned:
    """Reads every model and counts what all cameras need.

    Args:
        free_bytes: memory that may be used; what the machine has by default.

    Raises:
        MquansError: a model or plan cannot be used, or the memory does not suffice.
    """
    models = measure_apart(config.models, engine)
    if config.scale is not None:  # other machines have other memory
        return Planned(config, models, engine, 0, 0)
    cores = usable_cores()
    wanted = config.server.workers
    workers = max(1, min(cores, len(config.cameras))) if wanted == "auto" else wanted
    needed = needed_bytes(config, models, workers)
    free = free_memory() if free_bytes is None else free_bytes
    if needed > free * SPARE:
        raise MquansError(
            f"this needs {needed / MIB:.0f} MB of memory (cameras: {len(config.cameras)}, workers: "
            f"{workers}), and {free / MIB:.0f} MB are free.",
            hint="Use fewer cameras or workers, a smaller network, or leave out guards.",
        )
    return Planned(config, models, engine, workers, needed)


def needed_bytes(config: Config, models: Mapping[str, Measured], workers: int) -> int:
    """Memory of a configuration: workers with the weights of all models, one that is spare, and
    streams. A guard holds a second stream."""
    used = {str(camera.model) for camera in config.cameras.values()}
    weights = sum(models[name].weights_bytes for name in used)
    streams = sum(
        CAMERA_BYTES + models[str(camera.model)].stream_bytes * _streams_of(camera)
        for camera in config.cameras.values()
    )
    return WORKER_BYTES + workers * (WORKER_BYTES + weights) + streams


def measure_apart(models: Mapping[str, ModelOptions], engine: EngineName) -> dict[str, Measured]:
    """`measuring.measure` of every model, in a process that ends with it."""
    found = {}
    for name, model in models.items():
        done = subprocess.run(
            [sys.executable, "-m", "mquans.serve.measuring"],
            input=encode_request(Request(model, engine)),
            stdout=subprocess.PIPE,
            check=False,
        )
        if done.returncode:
            raise MquansError(
                "reading it ended the process, perhaps for lack of memory.", where=f"model {name}"
            )
        answer = decode_answer(done.stdout)
        if isinstance(answer, Failure):
            raise MquansError(answer.problem, where=f"model {name}")
        found[name] = answer
    return found


def usable_cores(root: Path = Path("/")) -> int:
    """Cores that this process may use: by its affinity, or less by the quota of a control group, of
    which a part counts as a whole."""
    cores = len(os.sched_getaffinity(0))
    for group in _groups(root):
        with contextlib.suppress(OSError, ValueError):  # no group, or no limit in it
            quota_us, period_us = map(int, (group / "cpu.max").read_text().split())
            cores = min(cores, math.ceil(quota_us / period_us))
    return max(1, cores)


def free_memory(root: Path = Path("/")) -> int:
    """Bytes that may still be used: what the machine has free, or less in a control group."""
    free = 0
    for line in (root / "proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) * 1024
    for group in _groups(root):
        with contextlib.suppress(OSError, ValueError):
            limit = int((group / "memory.max").read_text())
            free = min(free, limit - int((group / "memory.current").read_text()))
    return free


def _groups(root: Path) -> list[Path]:
    """Control groups (version 2) of this process, whose limits all hold. In a container the root is
    its own; a unit of systemd has one further down."""
    try:
        own = (root / "proc/self/cgroup").read_text().strip().rpartition("::")[2]
    except OSError:
        own = ""
    top = root / "sys/fs/cgroup"
    below = [part for part in own.split("/") if part]
    return [top.joinpath(*below[:depth]) for depth in range(len(below) + 1)]


def _streams_of(camera: CameraOptions) -> int:
    return 1 if camera.guard is None else 2
