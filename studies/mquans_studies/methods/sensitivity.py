"""What factors per gate are worth: active MACs under one tolerance everywhere over those under
calibrated factors, at equal fidelity.

    python -m mquans_studies.methods.sensitivity --json bench.json      (the record of engines.py)

Both have the scales of `calibrate`, 1 / standard deviation of every channel, and for each the
largest tolerance is taken that keeps the rule of `fidelity` on the measured frames.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from msgspec.structs import replace

from mquans.errors import MquansError
from mquans.plan import Plan, read_plan
from mquans_studies.cases.networks import DETECTORS, FIXED_CAMERAS, NETWORKS, SHARED, load_frames
from mquans_studies.cases.plans import Judge, under_largest_tolerance
from mquans_studies.cases.record import Record
from mquans_studies.methods.operating_points import geometric_mean


def without_factors(plan: Plan) -> Plan:
    """One tolerance everywhere."""
    return replace(
        plan,
        tensors=tuple(
            replace(tensor, gate=tensor.gate and replace(tensor.gate, factor=1.0))
            for tensor in plan.tensors
        ),
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", required=True, help="the record of engines.py")
    parser.add_argument("--networks", type=lambda text: text.split(","), default=list(DETECTORS))
    parser.add_argument("--frames", type=int, default=24, help="as many as engines.py measured")
    parser.add_argument("--calibration", type=int, default=48)
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder of models and data")
    arguments = parser.parse_args()
    record = Record(Path(arguments.json))
    ratios: list[float] = []
    print("| network, clip | one tolerance | factors | ratio |\n|---|---:|---:|---:|")
    for network in arguments.networks:
        for clip in FIXED_CAMERAS:
            file = record.plan_file(network, clip, "criticality")
            if not file.exists():
                continue
            model = NETWORKS[network].model(arguments.shared)
            calibration, frames = load_frames(
                network, clip, arguments.calibration, arguments.frames, arguments.shared
            )
            judge = Judge.of(network, model, calibration, frames)
            plan = read_plan(file)
            found = [
                under_largest_tolerance(judge, one)[1] for one in (without_factors(plan), plan)
            ]
            if not all(judged["keeps_rule"] for judged in found):
                print(f"| {network}, {clip} | the rule is not kept |||", flush=True)
                continue
            one, several = (judged["macs_fraction"] for judged in found)
            ratios.append(one / several)
            print(
                f"| {network}, {clip} | {one:.1%} | {several:.1%} | {ratios[-1]:.2f}x |", flush=True
            )
    mean = geometric_mean(ratios)
    print(f"\n{mean:.2f}x, geometric mean of {len(ratios)}" if mean else "no plans")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MquansError as error:
        sys.exit(f"error: {error}")
