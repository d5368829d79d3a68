"""A Ray cluster of several nodes on this machine, which can be lost."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

SMALL = {"object_store_memory": 80 << 20, "include_dashboard": False}

# A node that is gone refuses, and is known to be gone after three seconds instead of fourteen; one
# that is slow, as the machine is busy, has ten.
HEALTH = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "5",
}

# Actors are 15 steps nicer than their node, if it is not told otherwise.
EQUAL = {"RAY_worker_niceness": "0"}


class Nodes:
    """The nodes of a cluster, besides its head, which has no CPUs.

    Attributes:
        address: of the head.
    """

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster
        self.address: str = cluster.address

    def add(self, cpus: int) -> Any:
        return self._cluster.add_node(num_cpus=cpus, object_store_memory=80 << 20)

    def lose(self, node: Any) -> None:
        self._cluster.remove_node(node, allow_graceful=False)


@contextmanager
def ray_nodes() -> Iterator[Nodes]:
    os.environ.update(HEALTH | EQUAL | {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"})
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **SMALL})
    try:
        yield Nodes(cluster)
    finally:
        cluster.shutdown()
