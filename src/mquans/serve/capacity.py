"""How many cameras fit: a short measurement of some of them, and what follows for all."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from mquans.errors import MquansError
from mquans.serve.config import CameraOptions, Config
from mquans.serve.engines import Network, Stepper
from mquans.serve.feed import Pace, frame_seconds
from mquans.serve.measuring import Measured, measure
from mquans.serve.planning import needed_bytes
from mquans.sources import Source, open_planned
from mquans.sources.frames import Feeds, feeds_of

MEASURED_PER_MODEL = 3
"""Cameras; others of the same model are taken for their mean."""

WARM_FRAMES = 2
"""The first frame is a keyframe, and the memory of the second is new."""

DENSE_FRAMES = 10
"""Of onnxruntime, whose frames all cost the same."""

BUSY = 0.7
"""Share of a core that is planned for: cuts and crowds cost more than the mean."""

SERVER = 1.1
"""What a worker takes beyond a bare loop (`benchmarks/serving.py --overhead`)."""


@dataclass(frozen=True)
class CameraCost:
    """CPU time of one core per frame, in milliseconds.

    Attributes:
        read_ms: reading, decoding, preparing; of frames that are left out as well.
        step_ms: our engine, and the decoder of boxes.
        dense_ms: onnxruntime, and the decoder of boxes.
        fps: frames per second that are computed.
    """

    read_ms: float
    step_ms: float
    dense_ms: float
    fps: float

    @property
    def share(self) -> float:
        """Of a core, in a server."""
        return SERVER * self.fps * (self.read_ms + self.step_ms) / 1e3

    @property
    def dense_share(self) -> float:
        """Of a core, in a server with onnxruntime."""
        return SERVER * self.fps * (self.read_ms + self.dense_ms) / 1e3


@dataclass(frozen=True)
class Capacity:
    """What a file of cameras needs.

    Attributes:
        cameras: number of them.
        costs: of those that were measured, by name.
        failed: why others could not be, by name.
        shares, dense_shares: of cores, of all cameras together.
        cores: that are at hand.
        memory_bytes: of all cameras on that many cores.
    """

    cameras: int
    costs: dict[str, CameraCost]
    failed: dict[str, str]
    shares: float
    dense_shares: float
    cores: int
    memory_bytes: int

    @property
    def fit(self) -> int:
        """Cameras like these that the cores keep up with."""
        return math.floor(self.cameras * BUSY * self.cores / self.shares)

    @property
    def dense_fit(self) -> int:
        """With onnxruntime."""
        return math.floor(self.cameras * BUSY * self.cores / self.dense_shares)

    @property
    def needed_cores(self) -> int:
        """Cores that the cameras of the file need."""
        return math.ceil(self.shares / BUSY)

    @property
    def dense_cores(self) -> int:
        return math.ceil(self.dense_shares / BUSY)

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "cameras": self.cameras,
            "cores": self.cores,
            "fit": self.fit,
            "dense_fit": self.dense_fit,
            "needed_cores": self.needed_cores,
            "dense_cores": self.dense_cores,
            "memory_bytes": self.memory_bytes,
            "measured": {
                name: {
                    "fps": cost.fps,
                    "read_ms": cost.read_ms,
                    "step_ms": cost.step_ms,
                    "dense_ms": cost.dense_ms,
                    "share": cost.share,
                    "dense_share": cost.dense_share,
                }
                for name, cost in self.costs.items()
            },
            "failed": self.failed,
        }


def plan_capacity(config: Config, cores: int, seconds: float) -> Capacity:
    """Measures some cameras of every model, one after the other, on one core.

    Args:
        seconds: of every camera's stream.

    Raises:
        MquansError: a model cannot be used, or of one no camera can be read.
    """
    models: dict[str, Measured] = {}
    costs: dict[str, CameraCost] = {}
    failed: dict[str, str] = {}
    shares = dense_shares = 0.0
    for model, cameras in _by_model(config).items():
        models[model] = measure(config.models[model], "mquans")
        dense = Network(measure(config.models[model], "onnxruntime").job)
        network = Network(models[model].job)
        of_model: list[CameraCost] = []
        for name, camera in cameras.items():
            if len(of_model) == MEASURED_PER_MODEL:
                break
            try:
                costs[name] = camera_cost(network, dense, camera, seconds)
            except MquansError as error:
                failed[name] = config.redact(str(error))
                continue
            of_model.append(costs[name])
        if not of_model:
            raise MquansError(
                f"no camera of the model {model} could be measured.",
                where=f"camera {next(iter(cameras))}",
                hint=failed[next(iter(cameras))],
            )
        for name, camera in cameras.items():
            known = [costs[name]] if name in costs else of_model
            # Of those that were not measured, the rate at least is known.
            rate = 1.0 if name in costs or network.plan.audio else camera.fps / _mean_fps(of_model)
            shares += rate * sum(cost.share for cost in known) / len(known)
            dense_shares += rate * sum(cost.dense_share for cost in known) / len(known)
    memory = needed_bytes(config, models, cores)
    return Capacity(len(config.cameras), costs, failed, shares, dense_shares, cores, memory)


def camera_cost(
    network: Network, dense: Network, camera: CameraOptions, seconds: float
) -> CameraCost:
    """Reads a camera for some seconds of its stream, and steps what a server would.

    Raises:
        MquansError: it cannot be opened, or gives too few frames.
    """
    guard = None if camera.guard is None else (camera.guard.max_loss, camera.guard.every)
    period_s = frame_seconds(network.plan, camera.fps)
    # Reading may have a thread of its own: what the process spends outside of steps is reading.
    spent_s, stepped_s = time.process_time(), 0.0
    steps: list[float] = []
    some: list[tuple[Feeds, tuple[int, int] | None]] = []
    with closing(_opened(network, camera)) as source:
        reuse = network.stepper(guard=guard)
        began_s = spent_s
        for feeds in _wanted(source, network, camera, period_s, seconds):
            steps.append(_timed(reuse, network, feeds, source.picture_size))
            stepped_s += steps[-1]
            some = [*some[1 - DENSE_FRAMES :], (feeds, source.picture_size)]
        spent_s = time.process_time() - began_s
        reuse.close()
    if len(steps) <= WARM_FRAMES:
        raise MquansError(
            f"gave {len(steps)} frames in {seconds:g} s.", hint="Measure longer: --seconds."
        )
    plain = dense.stepper()
    _timed(plain, dense, *some[0])
    dense_s = [_timed(plain, dense, *one) for one in some]
    plain.close()
    return CameraCost(
        read_ms=1e3 * (spent_s - stepped_s) / len(steps),
        step_ms=1e3 * sum(steps[WARM_FRAMES:]) / len(steps[WARM_FRAMES:]),
        dense_ms=1e3 * sum(dense_s) / len(dense_s),
        fps=1 / period_s,
    )


def _by_model(config: Config) -> dict[str, dict[str, CameraOptions]]:
    found: dict[str, dict[str, CameraOptions]] = {}
    for name, camera in config.cameras.items():
        found.setdefault(str(camera.model), {})[name] = camera
    return found


def _mean_fps(costs: list[CameraCost]) -> float:
    return sum(cost.fps for cost in costs) / len(costs)


def _opened(network: Network, camera: CameraOptions) -> Source:
    return open_planned(network.plan, camera.source, pixels=True, reconnect=False)


def _wanted(
    source: Source, network: Network, camera: CameraOptions, period_s: float, seconds: float
) -> Iterator[Feeds]:
    """Frames that a server would step: of a camera for some seconds, of a file as many."""
    files_do_not_wait = threading.Event()
    files_do_not_wait.set()
    sound = network.plan.audio is not None
    pace = Pace(period_s, every=sound, live=source.live, closing=files_do_not_wait)
    inputs = [name for name in network.plan.input_shapes if name not in network.plan.feedback]
    until_s, left = time.monotonic() + seconds, round(seconds / period_s)
    with contextlib.suppress(StopIteration):
        while left and not (source.live and time.monotonic() > until_s):
            source.advance()
            if pace.wants(source.time_s, time.monotonic()):
                left -= 1
                yield feeds_of(source.frame(), inputs)


def _timed(stepper: Stepper, network: Network, feeds: Feeds, size: tuple[int, int] | None) -> float:
    """CPU seconds of a step."""
    began_s = time.thread_time()
    network.boxes(stepper.step(feeds), size)
    return time.thread_time() - began_s
