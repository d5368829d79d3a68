"""If these break, dashboards and alarms show what was not."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from mquans.serve.camera import Camera
from mquans.serve.config import CameraOptions, Config, ModelOptions
from mquans.serve.measures import BUCKETS_S, Measures
from mquans.serve.measuring import Measured
from mquans.serve.planning import Planned
from mquans.serve.states import Record
from mquans.serve.supervisor import Supervisor
from mquans.serve.wire import Counts, Frame

STEPS_S = (0.0, 0.002, 0.0021, 0.04, 0.05, 2.5, 7.0)


def frame(step_s: float) -> Frame:
    return Frame("door", 1, 5.0, 5.0 + step_s, 1e3 * step_s, 0.5, "", None, [], {}, Counts())


@pytest.fixture
def camera(measured: Measured) -> Camera:
    return Camera("door", CameraOptions(source="x", model="spots"), measured, Record(0))


@pytest.fixture
def supervisor(spots: ModelOptions, measured: Measured) -> Supervisor:
    return Supervisor(Planned(Config(models={"spots": spots}), {"spots": measured}, "mquans", 0, 0))


def lines(measures: Measures, name: str) -> list[str]:
    text = generate_latest(measures.registry).decode()
    return [line for line in text.splitlines() if line.startswith(f"{name}_")]


def test_times_are_those_of_a_histogram_of_prometheus(
    supervisor: Supervisor, camera: Camera
) -> None:
    measures = Measures(supervisor)
    registry = CollectorRegistry()
    wanted = Histogram(
        "mquans_step_seconds", "", ["camera"], buckets=BUCKETS_S, registry=registry
    ).labels("door")
    for step_s in STEPS_S:
        supervisor._say("frame", camera, frame(step_s))
        wanted.observe(1e3 * step_s / 1e3)
    text = generate_latest(registry).decode().splitlines()
    assert lines(measures, "mquans_step_seconds") == [
        line for line in text if line.startswith("mquans_step_seconds_") and "_created" not in line
    ]
    assert f'mquans_latency_seconds_count{{camera="door"}} {len(STEPS_S)}.0' in lines(
        measures, "mquans_latency_seconds"
    )


def test_a_camera_that_is_removed_has_no_times(supervisor: Supervisor, camera: Camera) -> None:
    measures = Measures(supervisor)
    supervisor._say("removed", camera, None)  # it gave no frame
    supervisor._say("frame", camera, frame(0.01))
    supervisor._say("removed", camera, None)
    assert not lines(measures, "mquans_step_seconds")
