"""The guard that the flags of `run` ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mquans.errors import MquansError

if TYPE_CHECKING:
    from mquans.onnx import ModelFile
    from mquans.runtime.guard import Guard
    from mquans.runtime.session import Session


def open_guard(
    session: Session,
    model: ModelFile,
    *,
    every: int | None,
    max_loss: float | None,
    metric: str | None,
) -> Guard | None:
    """A guard that compares with onnxruntime fp32, as calibration does; None if none is wanted.

    Raises:
        MquansError: flags that only make sense together.
    """
    if every is None:
        if max_loss is not None or metric is not None:
            given = "--max-loss" if max_loss is not None else "--metric"
            raise MquansError(
                f"{given} is for a guard.",
                hint="Say how often it checks, such as --guard 100, or leave it out.",
            )
        return None
    if max_loss is None:
        raise MquansError(
            "a guard needs a budget.", hint="Give the plan's own, such as --max-loss 0.01."
        )
    from mquans.baselines import open_reference
    from mquans.metrics import load_metric
    from mquans.runtime.guard import Guard

    dense = open_reference(model, session.graph, session.plan.options, threads=session.threads)
    chosen = None if metric is None else load_metric(metric)
    return Guard(session, budget=max_loss, every=every, metric=chosen, dense=dense.step)
