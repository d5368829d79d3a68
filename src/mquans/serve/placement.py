"""Which worker a camera goes to, by what it costs."""

from __future__ import annotations

from collections.abc import Collection, Mapping

WORTH = 0.1
"""Of a worker's mean load, what a move has to even out: it costs a connection and a keyframe."""


def loads(
    owners: Mapping[str, int], costs: Mapping[str, float], workers: Collection[int]
) -> dict[int, float]:
    """What the cameras of every worker cost together."""
    found = dict.fromkeys(workers, 0.0)
    for camera, worker in owners.items():
        if worker in found:
            found[worker] += costs[camera]
    return found


def moves(
    owners: Mapping[str, int], costs: Mapping[str, float], workers: Collection[int]
) -> dict[str, int]:
    """Cameras that go to another worker, and to which.

    Those whose worker is gone go where there is least to do, the dearest first. Then cameras leave
    the busiest worker for the idlest, as long as that evens out enough.

    Args:
        owners: the worker of every camera that is to run; what is none of `workers` is gone.
        costs: of every camera, in any unit: its load on a worker.
        workers: that can take cameras.
    """
    if not workers:
        return {}
    now = {camera: worker for camera, worker in owners.items() if worker in workers}
    load = loads(now, costs, workers)
    for camera in sorted(owners.keys() - now.keys(), key=lambda name: (-costs[name], name)):
        now[camera] = min(load, key=lambda worker: (load[worker], worker))
        load[now[camera]] += costs[camera]
    least = WORTH * sum(load.values()) / len(load)
    while True:
        busiest = max(load, key=lambda worker: (load[worker], worker))
        idlest = min(load, key=lambda worker: (load[worker], worker))
        gap = load[busiest] - load[idlest]
        # What is left of the gap, and the camera whose move leaves so much.
        left, camera = (
            min(
                (abs(gap - 2 * costs[name]), name)
                for name, owner in now.items()
                if owner == busiest
            )
            if gap > 0
            else (0.0, "")
        )
        if gap - left <= least:
            break
        now[camera] = idlest
        load[busiest] -= costs[camera]
        load[idlest] += costs[camera]
    return {camera: worker for camera, worker in now.items() if worker != owners[camera]}
