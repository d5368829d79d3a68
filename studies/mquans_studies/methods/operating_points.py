"""Methods compared at equal loss: work interpolated between measured points."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Point:
    """One plan on the measured frames: MACs done / dense MACs, and the loss it is compared at."""

    work: float
    loss: float


def front(points: Iterable[Point]) -> list[Point]:
    """Points that no other beats in both, by rising work."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda p: (p.work, p.loss)):
        if not kept or point.loss < kept[-1].loss:
            kept.append(point)
    return kept


def work_at(points: Iterable[Point], loss: float) -> float | None:
    """Least work at which a method keeps a loss; between points of its front work is linear in the
    logarithm of the loss. (In logarithms of both, a plan that does next to nothing would draw its
    neighbour's work to nothing.)

    None where no point keeps it. Where the cheapest point keeps it, that point's work: nothing is
    extrapolated in a method's favour.
    """
    best = front(points)
    if not best or best[-1].loss > loss:
        return None
    if best[0].loss <= loss:
        return best[0].work
    # Loss must rise for np.interp; losses of 0 have no logarithm.
    log_loss = np.log([max(p.loss, 1e-12) for p in reversed(best)])
    return float(np.interp(np.log(loss), log_loss, [p.work for p in reversed(best)]))


def geometric_mean(ratios: Sequence[float]) -> float | None:
    """None for no ratios."""
    return float(np.exp(np.mean(np.log(ratios)))) if len(ratios) else None
