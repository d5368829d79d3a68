"""The plans that are measured, chosen by fidelity alone, never by time.

`uniform`: one width for the whole network, the fewest bits that keep the rule of `fidelity`.
`criticality`: scales and factors as `calibrate` makes them, once, of detectors with F1 for metric;
under the largest tolerance that keeps the rule on the measured frames, as the fewest bits do: F1 of
few objects neither grows nor falls steadily, so all are tried from the largest on.
`motion-gate`: the same with the motion gate that leaves least to do; the one in front of a dense
engine, that it is compared with, is tuned on the same frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from msgspec.structs import replace

import mquans
from mquans.baselines import open_engine
from mquans.calibration import CalibrationOptions, open_context
from mquans.calibration.pipeline import sweep
from mquans.calibration.sites.motion import LEVELS, SHARES
from mquans.calibration.sites.tolerance import LEAST, MOST
from mquans.errors import MquansError
from mquans.evaluate import Work
from mquans.evaluate.interleave import Outputs
from mquans.onnx import ModelFile
from mquans.plan import NetworkOptions, Plan
from mquans.runtime.replay import replay
from mquans.sources.frames import Feeds
from mquans_studies.cases.fidelity import F1, Rule, fidelity
from mquans_studies.cases.networks import NETWORKS

FEWEST_BITS, MOST_BITS = 4, 12
BUDGET = 0.01
"""Loss that `calibrate` is asked to keep for networks without a metric; of F1, what the rule
leaves."""

STEP = 1.12
"""Factor between tolerances that are tried."""


@dataclass(slots=True)
class Judge:
    """Runs plans over the measured frames.

    Attributes:
        dense: outputs of fp32 per frame.
        rule: that plans have to keep.
    """

    network: str
    model: ModelFile
    frames: Sequence[Feeds]
    dense: list[Outputs]
    rule: Rule

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
            rule = Rule(fidelity(dense, int8, None).agreement.rel_sq_p95)
        except MquansError:
            rule = Rule(None)
        return cls(network, model, frames, dense, rule)

    def judge(self, plan: Plan) -> dict[str, Any]:
        """What a plan costs and loses on the frames, as plain data.

        The first frame, which is computed whole, is compared but not counted as work.
        """
        session = mquans.Session(self.model, plan)
        work = Work()
        outputs = []
        with session.stream() as stream:
            for frame in replay(session, self.frames, stream=stream):
                made, stats = frame.made
                outputs.append(made)
                if frame.index:
                    work.add(stats)
        found = fidelity(self.dense, outputs, NETWORKS[self.network].decode)
        return {
            **found.as_dict(),
            "keeps_rule": self.rule.kept(found),
            "int8_rel_sq_p95": self.rule.int8_rel_sq_p95,
            "macs_fraction": work.macs_fraction,
            "frames": len(self.frames),
        }


def run_dense(
    model: ModelFile, frames: Sequence[Feeds], shapes: dict[str, tuple[int, ...]]
) -> list[Outputs]:
    """Outputs of onnxruntime fp32 for every frame."""
    engine = open_engine("ort-fp32", model, NetworkOptions(shapes))
    return [engine.step(frame) for frame in frames]


def uniform_plan(judge: Judge, calibration: Sequence[Feeds]) -> tuple[Plan, dict[str, Any]]:
    """The plan and how it was judged; where nothing keeps the rule, the most bits."""
    options = CalibrationOptions(input_shapes=NETWORKS[judge.network].shapes)
    widths = range(FEWEST_BITS, MOST_BITS + 1)
    start = perf_counter()
    found = sweep(open_context(judge.model, list(calibration), options), widths)
    seconds = perf_counter() - start
    for bits in widths:
        judged = judge.judge(found.plans[bits])
        if judged["keeps_rule"]:
            break
    return found.plans[bits], {"bits": bits, "calibration_seconds": seconds, **judged}


def criticality_plan(judge: Judge, calibration: Sequence[Feeds]) -> tuple[Plan, dict[str, Any]]:
    """The plan and how it was judged; where nothing keeps the rule, with the least tolerance.

    Layers computed value by value stay as they were calibrated.
    """
    target = NETWORKS[judge.network]
    start = perf_counter()
    try:
        plan = mquans.calibrate(
            judge.model,
            list(calibration),
            max_loss=BUDGET if target.metric is None else 1 - F1,
            metric=target.metric,
            stress=False,
            input_shapes=target.shapes,
        )
    except mquans.BudgetError as error:
        plan = error.result.plan
    seconds = perf_counter() - start

    plan, judged = under_largest_tolerance(judge, plan)
    return plan, {"tolerance": plan.tolerance, "calibration_seconds": seconds, **judged}


def motion_plan(judge: Judge, plan: Plan, judged: Mapping[str, Any]) -> tuple[Plan, dict[str, Any]]:
    """A plan with the motion gate that leaves least to do, and how it was judged; as it is, where
    none leaves less.

    Args:
        judged: how it was judged without.
    """
    best, least = plan, dict(judged)
    for level in LEVELS:
        for share in SHARES:
            tried = replace(plan, motion_gate=share, motion_tolerance=level * plan.tolerance)
            found = judge.judge(tried)
            if found["macs_fraction"] >= least["macs_fraction"]:
                break  # smaller shares leave more
            if found["keeps_rule"]:
                best, least = tried, {**judged, **found}
    return best, {
        **least,
        "motion_gate": best.motion_gate,
        "motion_tolerance": best.motion_tolerance,
    }


def under_largest_tolerance(judge: Judge, plan: Plan) -> tuple[Plan, dict[str, Any]]:
    """A plan under the largest tolerance that keeps the rule, or else the least, and how it was
    judged."""
    tolerance = MOST
    while True:
        plan = replace(plan, tolerance=max(tolerance, LEAST))
        judged = judge.judge(plan)
        if judged["keeps_rule"] or tolerance <= LEAST:
            return plan, judged
        tolerance /= STEP
