"""Workers on the machines of a Ray cluster: one actor each, which runs a `Host`.

Ray finds the machines and starts the actors; whether a worker is there is known by its own signs of
life and by its lease.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

from mquans.errors import DependencyError, MquansError
from mquans.serve.crew import Crew, Owner, Process, Worker
from mquans.serve.hosting import (
    ANSWERED_WITHIN_S,
    LEASE_S,
    Host,
    Reached,
    RemoteProcess,
    Reports,
)
from mquans.serve.wire import Beat, FromWorker

NAMESPACE = "mquans"
LOOKED_AT_EVERY_S = 0.5
CALL_WITHIN_S = ANSWERED_WITHIN_S + LEASE_S
"""A worker that gives no answer for so long has lost its lease."""

STARTED_WITHIN_S = 50.0
CALLS_AT_ONCE = 4
"""Of an actor: an order must not wait until a question for reports is answered."""


class Cluster(Protocol):
    """Machines that workers can be started on."""

    def nodes(self) -> dict[str, int]:
        """Names of the machines that are there, and how many workers each is good for."""

    def reach(self, node: str) -> Reached:
        """Starts a worker there, which takes its time."""


class RayCluster:
    """A running cluster.

    Args:
        address: HOST:PORT of its head, or `auto`.
        most: workers of a machine, of which each takes one of its CPUs; without it, all of them.

    Raises:
        DependencyError: the extra `scale` is not installed.
        MquansError: there is no such cluster.
    """

    def __init__(self, address: str, most: int | None = None) -> None:
        if find_spec("ray") is None:
            raise DependencyError(
                "a cluster needs the package 'ray'.",
                hint='Install it with: pip install "mquans[scale]"',
            )
        # Read when Ray is loaded: with it, several nodes on one machine are no cluster on Linux.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        self._ray: Any = import_module("ray")
        self._most = sys.maxsize if most is None else most
        try:
            self._ray.init(
                address, namespace=NAMESPACE, log_to_driver=False, logging_level=logging.ERROR
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise MquansError(
                f"there is no cluster that answers: {str(error).splitlines()[0]}",
                where=f"scale.address {address}",
                hint="Start one with: ray start --head",
            ) from None

    def nodes(self) -> dict[str, int]:
        return {
            node["NodeID"]: min(self._most, int(node["Resources"].get("CPU", 0)))
            for node in self._ray.nodes()
            if node["Alive"]
        }

    def reach(self, node: str) -> Reached:
        strategies = import_module("ray.util.scheduling_strategies")
        remote: Any = self._ray.remote(_Actor).options(
            num_cpus=1,
            max_concurrency=CALLS_AT_ONCE,
            scheduling_strategy=strategies.NodeAffinitySchedulingStrategy(node, soft=False),
        )
        return _RayHost(self._ray, remote.remote())


class _Actor(Host):
    """Ends with its lease, so that Ray has its CPU back."""

    def __init__(self) -> None:
        super().__init__(leave=lambda: os._exit(0))


class _RayHost:
    """An actor, asked as a `Host` is."""

    def __init__(self, ray: Any, actor: Any) -> None:
        self._ray, self._actor = ray, actor
        try:
            ray.get(actor.__ray_ready__.remote(), timeout=STARTED_WITHIN_S)
        except Exception:
            self.kill()
            raise

    def order(self, data: bytes) -> None:
        # One after the other: calls that an actor runs at once may overtake each other.
        self._ray.get(self._actor.order.remote(data), timeout=CALL_WITHIN_S)

    def reports(self) -> Reports:
        found: Reports = self._ray.get(self._actor.reports.remote(), timeout=CALL_WITHIN_S)
        return found

    def kill(self) -> None:
        self._ray.kill(self._actor)


class ClusterCrew(Crew):
    """Workers on all machines of a cluster, as those come and go. A worker takes cameras once it
    goes round; those of one that is gone go to others at once.

    Raises:
        MquansError: no machine of the cluster has a CPU for workers.
    """

    cameras_wait = False

    def __init__(self, cluster: Cluster, *, hang_s: float, owner: Owner) -> None:
        super().__init__(0, hang_s=hang_s, owner=owner)
        self._cluster = cluster
        self._nodes: dict[str, int] = {}
        self._takers: set[int] = set()
        self._follow(cluster.nodes())
        if not self.workers:
            raise MquansError(
                "no machine of the cluster has CPUs for workers.",
                hint="Give its nodes some: ray start --num-cpus",
            )
        # These are waited for: cameras are spread once, not again with every worker that starts.
        self._takers = {worker.number for worker in self.workers}

    def start(self) -> None:
        super().start()
        self._following = asyncio.create_task(self._look_around())

    async def end(self, within_s: float, grace_s: float) -> None:
        self._following.cancel()
        await super().end(within_s, grace_s)

    @property
    def takers(self) -> list[int]:
        return sorted(self._takers)

    def _process_for(self, worker: Worker) -> Process:
        return RemoteProcess(lambda: self._cluster.reach(worker.node), *self._callbacks())

    def _stand_by(self, now_s: float) -> None:
        """Nobody does: the others take over."""

    def _replace(self, worker: Worker) -> None:
        self._employ(worker)

    def _hear(self, process: Process, report: FromWorker) -> None:
        worker = self._whose(process)
        if isinstance(report, Beat) and worker is not None and worker.number not in self._takers:
            self._takers.add(worker.number)
            self._owner.replaced(worker.number)
        super()._hear(process, report)

    def _ended(self, process: Process) -> None:
        if (worker := self._whose(process)) is not None:
            self._takers.discard(worker.number)
        super()._ended(process)

    async def _look_around(self) -> None:
        while True:
            await asyncio.sleep(LOOKED_AT_EVERY_S)
            for worker in self._follow(await asyncio.to_thread(self._cluster.nodes)):
                self._employ(worker)

    def _follow(self, nodes: dict[str, int]) -> list[Worker]:
        """Takes note of machines that came and went.

        Returns:
            workers that are new.
        """
        for worker in self.workers:
            if worker.node not in nodes:
                worker.retired = True
        number = len(self.workers)
        for node in nodes.keys() - self._nodes.keys():
            self.workers += [Worker(len(self.workers) + at, node) for at in range(nodes[node])]
        self._nodes = nodes
        return self.workers[number:]
