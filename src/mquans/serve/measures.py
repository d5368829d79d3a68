"""What Prometheus reads: gathered from the supervisor when it is asked for."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from mquans.serve.camera import Camera
from mquans.serve.supervisor import Supervisor
from mquans.serve.wire import Frame

BUCKETS_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5)

_COUNTERS = {
    "frames": "Frames that were computed.",
    "dropped": "Frames that came too fast to be computed.",
    "refused": "Frames with values that are not finite.",
    "keyframes": "Frames that were made keyframes, after gaps, cuts and by request.",
    "errors": "Frames that ended in an error.",
    "connects": "Times that the source was opened.",
    "overflows": "Times that sound began anew because it came too fast.",
}


class Measures(Collector):
    """A registry of its own: several servers may live in one process.

    Attributes:
        registry: for `prometheus_client.generate_latest`.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self.registry = CollectorRegistry()
        self.registry.register(self)
        self._latency: dict[str, Times] = {}
        self._step: dict[str, Times] = {}
        supervisor.listen(self._hear)

    def collect(self) -> Iterator[Metric]:
        cameras = list(self._supervisor.cameras.values())
        for name, text in _COUNTERS.items():
            family = CounterMetricFamily(f"mquans_{name}", text, labels=["camera"])
            for camera in cameras:
                family.add_metric([camera.name], camera.counters[name])
            yield family
        yield _gauge(
            "mquans_live", "1 while frames come.", cameras, lambda c: float(c.state == "live")
        )
        yield _gauge(
            "mquans_reuse",
            "Share of the MACs of the last frame that were not done.",
            cameras,
            lambda c: 0.0 if c.last is None else c.last.reuse,
        )
        yield _gauge(
            "mquans_frame_age_seconds",
            "Time since the last frame was computed.",
            cameras,
            lambda c: time.time() - c.last_at if c.last_at else float("nan"),
        )
        yield _gauge(
            "mquans_guard_level",
            "Steps that the guard has tightened the plan by.",
            cameras,
            lambda c: float(c.to_record().guard_level),
        )
        yield _histogram(
            "mquans_latency_seconds", "From the arrival of a frame to its outputs.", self._latency
        )
        yield _histogram("mquans_step_seconds", "Time to compute a frame.", self._step)
        yield from self._of_workers()
        errors = CounterMetricFamily(
            "mquans_state_write_errors", "Files of states that could not be written."
        )
        errors.add_metric([], self._supervisor.states.errors)
        yield errors

    def _of_workers(self) -> Iterator[Metric]:
        restarts = CounterMetricFamily(
            "mquans_worker_restarts", "Times that a worker was replaced.", labels=["worker"]
        )
        memory = GaugeMetricFamily(
            "mquans_worker_resident_bytes", "Memory of a worker.", labels=["worker"]
        )
        info = InfoMetricFamily("mquans_worker", "The process of a worker.", labels=["worker"])
        for worker in self._supervisor.crew.workers:
            restarts.add_metric([str(worker.number)], worker.restarts)
            if worker.process is not None:
                memory.add_metric([str(worker.number)], worker.process.resident)
                info.add_metric([str(worker.number)], {"pid": str(worker.process.pid)})
        yield info
        yield restarts
        yield memory

    def _hear(self, what: str, camera: Camera, frame: Frame | None) -> None:
        if frame is not None:
            if camera.name not in self._latency:
                self._latency[camera.name], self._step[camera.name] = Times(), Times()
            self._latency[camera.name].add(frame.done_s - frame.taken_s)
            self._step[camera.name].add(frame.step_ms / 1e3)
        elif what == "removed":
            self._latency.pop(camera.name, None)
            self._step.pop(camera.name, None)


class Times:
    """How many of a camera's frames took how long. The library's own histogram takes a lock for
    every bucket of every frame."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BUCKETS_S) + 1)
        self.sum_s = 0.0

    def add(self, seconds: float) -> None:
        self._counts[bisect_left(BUCKETS_S, seconds)] += 1
        self.sum_s += seconds

    def buckets(self) -> list[tuple[str, float]]:
        """Upper bounds, and how many frames took at most so long."""
        bounds = [*map(str, BUCKETS_S), "+Inf"]
        return list(zip(bounds, accumulate(self._counts), strict=True))


def _histogram(name: str, text: str, times: dict[str, Times]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, text, labels=["camera"])
    for camera, one in times.items():
        family.add_metric([camera], one.buckets(), one.sum_s)
    return family


def _gauge(
    name: str, text: str, cameras: list[Camera], value: Callable[[Camera], float]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=["camera"])
    for camera in cameras:
        family.add_metric([camera.name], value(camera))
    return family
