"""The plans that are measured, chosen by fidelity alone, never by time.

`uniform`: rule hold, the fewest bits, not under 7, that keep the rule of `fidelity`. `criticality`:
bits per neuron for a multiple of the uniform plan's loss, the largest that keeps the rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from cases import NETWORKS
from fidelity import Fidelity, fidelity

import mquans
from mquans.baselines import open_engine
from mquans.errors import MquansError
from mquans.evaluate import Feeds, Work
from mquans.evaluate.interleave import Outputs
from mquans.importers import ModelFile
from mquans.plan import NetworkOptions, Plan

FEWEST_BITS, MOST_BITS = 7, 12
BUDGET_SHARES = (6.0, 3.0, 1.0, 1 / 3)
LEAST_BUDGET = 1e-6


@dataclass(slots=True)
class Judge:
    """Runs plans over the measured frames.

    Attributes:
        dense: outputs of fp32 per frame.
        int8_rel_sq_p95: of onnxruntime int8 on the same frames; None where it cannot run.
    """

    network: str
    model: ModelFile
    frames: Sequence[Feeds]
    dense: list[Outputs]
    int8_rel_sq_p95: float | None

    @classmethod
    def of(
        cls, network: str, model: ModelFile, calibration: Sequence[Feeds], frames: Sequence[Feeds]
    ) -> Judge:
        """Runs fp32 and int8 over the frames."""
        shapes = NETWORKS[network].shapes
        dense = run_dense(model, frames, shapes)
        try:
            engine = open_engine("ort-int8", model, NetworkOptions(shapes), calibration=calibration)
            int8 = [engine.step(frame) for frame in frames]
            limit = fidelity(dense, int8, None).agreement.rel_sq_p95
        except MquansError:
            limit = None
        return cls(network, model, frames, dense, limit)

    def judge(self, plan: Plan) -> tuple[dict[str, Any], Fidelity]:
        """What a plan costs and loses on the frames, as plain data, and the latter."""
        session = mquans.Session(self.model, plan)
        work = Work()
        outputs = []
        with session.stream() as stream:
            for frame in self.frames:
                outputs.append(stream.step(frame))
                work.add(stream.stats)
        found = fidelity(self.dense, outputs, NETWORKS[self.network].decode)
        return {
            **found.as_dict(),
            "keeps_rule": found.keeps_rule(self.int8_rel_sq_p95),
            "int8_rel_sq_p95": self.int8_rel_sq_p95,
            "macs_fraction": work.macs_fraction,
            "similarity": work.similarity,
            "frames": work.frames,
        }, found


def run_dense(
    model: ModelFile, frames: Sequence[Feeds], shapes: dict[str, tuple[int, ...]]
) -> list[Outputs]:
    """Outputs of onnxruntime fp32 for every frame."""
    engine = open_engine("ort-fp32", model, NetworkOptions(shapes))
    return [engine.step(frame) for frame in frames]


def uniform_plan(judge: Judge, calibration: Sequence[Feeds]) -> tuple[Plan, dict[str, Any]]:
    """The plan and how it was judged; where nothing keeps the rule, the most bits."""
    shapes = NETWORKS[judge.network].shapes
    for bits in range(FEWEST_BITS, MOST_BITS + 1):
        start = perf_counter()
        plan = mquans.calibrate(judge.model, list(calibration), bits=bits, input_shapes=shapes)
        seconds = perf_counter() - start
        judged, found = judge.judge(plan)
        if found.keeps_rule(judge.int8_rel_sq_p95):
            break
    return plan, {"bits": bits, "calibration_seconds": seconds, **judged}


def criticality_plan(
    judge: Judge, calibration: Sequence[Feeds], uniform_loss: float, objective: str
) -> tuple[Plan, dict[str, Any]]:
    """The plan and how it was judged. A budget that calibration cannot keep on its own held-out
    frames is recorded, and its best plan judged all the same.

    Args:
        uniform_loss: `loss_p95` of the uniform plan.
        objective: what calibration saves, `time` or `macs`.
    """
    shapes = NETWORKS[judge.network].shapes
    for share in BUDGET_SHARES:
        budget = max(share * uniform_loss, LEAST_BUDGET)
        start = perf_counter()
        kept = True
        try:
            plan = mquans.calibrate(
                judge.model,
                list(calibration),
                max_loss=budget,
                objective=objective,
                input_shapes=shapes,
            )
        except mquans.BudgetError as error:
            plan, kept = error.result.plan, False
        seconds = perf_counter() - start
        judged, found = judge.judge(plan)
        if found.keeps_rule(judge.int8_rel_sq_p95):
            break
    return plan, {
        "budget": budget,
        "budget_kept": kept,
        "objective": objective,
        "calibration_seconds": seconds,
        **judged,
    }
