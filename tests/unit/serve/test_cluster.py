"""If these break, a machine that is lost takes its cameras along, or two have one camera."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from mquans.errors import MquansError
from mquans.serve import hosting
from mquans.serve.cluster import ClusterCrew
from mquans.serve.config import CameraOptions, Config, ModelOptions, ScaleOptions, ServerOptions
from mquans.serve.hosting import Host, Reports
from mquans.serve.measuring import Measured
from mquans.serve.planning import Planned
from mquans.serve.supervisor import Supervisor
from mquans.serve.wire import Frame

LEASE_S = 1.0


class Machine(Host):
    """A host on this machine, which stands for one that can be lost."""

    def __init__(self, cluster: Machines, node: str) -> None:
        super().__init__(lambda: None, LEASE_S)
        self._cluster, self._node = cluster, node

    def reports(self) -> Reports:
        if self._node not in self._cluster.present:
            raise ConnectionError(self._node)
        return super().reports()

    def kill(self) -> None:
        self._process.kill()


class Machines:
    """A cluster without Ray.

    Attributes:
        present: names of machines that can be reached, and their CPUs.
    """

    def __init__(self, **present: int) -> None:
        self.present = present

    def nodes(self) -> dict[str, int]:
        return dict(self.present)

    def reach(self, node: str) -> Machine:
        return Machine(self, node)


@pytest.fixture
def planned(spots: ModelOptions, measured: Measured, clip: Path) -> Planned:
    camera = CameraOptions(source=str(clip), model="spots", fps=20, loop=True)
    config = Config(
        models={"spots": spots},
        cameras=dict.fromkeys("abcd", camera),
        server=ServerOptions(drain_s=3),
        scale=ScaleOptions(),
    )
    return Planned(config, {"spots": measured}, "mquans", 0, 0)


@pytest.fixture(autouse=True)
def short_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosting, "LEASE_S", LEASE_S)


async def until(what: Callable[[], object], within_s: float = 30.0) -> None:
    deadline = time.monotonic() + within_s
    while not what():
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.02)


def test_cameras_of_a_machine_that_is_lost_go_on_elsewhere(planned: Planned) -> None:
    machines = Machines(first=1, second=1)
    supervisor = Supervisor(planned, machines)

    def on(node: str) -> list[str]:
        names = {worker.number: worker.node for worker in supervisor.crew.workers}
        return [c.name for c in supervisor.cameras.values() if names[c.worker or 0] == node]

    def all_live() -> bool:
        return all(c.state == "live" and c.last for c in supervisor.cameras.values())

    async def drill() -> None:
        await supervisor.start()
        await until(all_live)
        assert len(on("first")) == len(on("second")) == 2

        epochs = {name: camera.epoch for name, camera in supervisor.cameras.items()}
        lost = {name: supervisor.cameras[name] for name in on("first")}
        told = {name: (camera.worker or 0, camera.last) for name, camera in lost.items()}
        del machines.present["first"]
        await until(lambda: len(on("second")) == 4)
        await until(all_live)
        for name, camera in supervisor.cameras.items():
            assert (camera.epoch > epochs[name]) == (name in lost)

        for name, (worker, frame) in told.items():  # it comes back, and speaks of its camera
            assert isinstance(frame, Frame)
            seen = lost[name].last
            supervisor.hear(worker, replace(frame, counts=replace(frame.counts, frames=10**6)))
            supervisor.hear(lost[name].worker or 0, replace(frame, step_ms=1e9))
            assert lost[name].last is seen

        machines.present["third"] = 1
        await until(lambda: on("third"))  # how many depends on what each has cost
        await until(all_live)
        await supervisor.stop()

    asyncio.run(drill())


def test_a_cluster_without_cpus_is_refused(planned: Planned) -> None:
    """Cameras would wait for ever, and nobody would know for what."""
    with pytest.raises(MquansError, match="no machine of the cluster has CPUs"):
        ClusterCrew(Machines(head=0), hang_s=4, owner=Supervisor(planned))
