"""The literature's evaluation: network x scheme x accelerator, in one command.

    python -m mquans_studies.accelerators.evaluation FOLDER -o evaluation

FOLDER holds a folder per network, as `python -m mquans_studies.zoo train` writes them: plans are
made from calibration.npy and judged on test.npy. Of a network NAME that was trained with fewer
channels, the folder NAME-true holds one of its true width, untrained.onnx: cycles and energy are
for that one. Writes evaluation.json, .md and .svg, and the plan of each network as
evaluation-NAME.plan.json; `docs/evaluation.md` explains them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mquans import Session
from mquans.calibration import Bench, CalibrationOptions, Segment, plans_within
from mquans.errors import MquansError
from mquans.evaluate import compare
from mquans.graph import Recurrence
from mquans.metrics import load_labels
from mquans.onnx import ModelFile, import_model, read_model
from mquans.plan import Plan, Rule, write_plan
from mquans_studies.accelerators import (
    Accelerator,
    Fallback,
    accelerator_names,
    load_accelerator,
    study,
)
from mquans_studies.accelerators.scores import TASKS, Task
from mquans_studies.accelerators.study import Row
from mquans_studies.one_width import one_width
from mquans_studies.traces.layer_shape import LayerShape, layer_geometry

WIDTHS = range(3, 11)
BUDGETS = (0.3, 0.1, 0.06, 0.03, 0.015, 0.01, 0.006, 0.003)
"""Losses that plans are made for (docs/reference/measures.md), largest first."""

SCHEMES = (
    "dense", "dense-int8", "reuse", "nearest", "hold", "repetition", "memory", "reuse+repetition",
)  # fmt: skip
EARLIER = "chosen before"
"""Of plans and widths that lose nothing on the data that plans are made from."""

FP32, INT8, DYNAMIC_INT8 = "ort-fp32", "ort-int8", "ort-int8-dynamic"


@dataclass(frozen=True, slots=True)
class Case:
    """A trained network, frames and labels that plans are made from and chosen by, and that judge
    them."""

    name: str
    model: ModelFile
    task: Task
    planned: Segment
    judged: Segment
    true_width: tuple[LayerShape, ...] | None


@dataclass(frozen=True, slots=True)
class Point:
    """A plan, and its error on data that plans are made from and on data that judge."""

    setting: float
    rule: Rule
    plan: Plan
    planned_error: float
    judged_error: float
    similarity: float
    computation_reuse: float

    def as_dict(self) -> dict[str, Any]:
        names = (
            "setting",
            "rule",
            "planned_error",
            "judged_error",
            "similarity",
            "computation_reuse",
        )
        return {name: getattr(self, name) for name in names}


def load_case(folder: Path, frames: int) -> Case:
    """A network of the zoo.

    Raises:
        MquansError: a file is missing, or the card names no known accuracy.
    """
    try:
        card = json.loads((folder / "card.json").read_text())
        model = read_model(folder / "model.onnx")
        name = import_model(model).inputs[0]
        planned, judged = (
            _labelled(folder, name, part, frames) for part in ("calibration", "test")
        )
    except (OSError, ValueError) as error:
        raise MquansError("is no trained network.", where=str(folder)) from error
    task = next((TASKS[name] for name in card["accuracy"] if name in TASKS), None)
    if task is None:
        raise MquansError("the card names no accuracy that is known.", where=str(folder))
    return Case(
        folder.name,
        model,
        task,
        planned,
        judged,
        _layers(folder.with_name(f"{folder.name}-true") / "untrained.onnx"),
    )


def _labelled(folder: Path, input_name: str, name: str, frames: int) -> Segment:
    stream = np.load(folder / f"{name}.npy", mmap_mode="r")[:frames]
    labels = load_labels(str(folder / f"{name}_labels.jsonl"))
    return Segment([{input_name: frame} for frame in stream], list(labels[: len(stream)]))


def _layers(path: Path) -> tuple[LayerShape, ...] | None:
    if not path.exists():
        return None
    graph = import_model(read_model(path))
    return tuple(layer_geometry(graph, node).shape for node in graph.reuse_layers())


def judge(case: Case, bench: Bench, plan: Plan, setting: float) -> Point:
    """A plan measured on both parts."""
    planned, judged = (bench.measure(plan, [part]) for part in (case.planned, case.judged))
    return Point(
        setting,
        plan.rule,
        plan,
        planned.task or 0.0,
        judged.task or 0.0,
        judged.moving.similarity,
        1 - judged.moving.changed_fraction,
    )


def dense_error(case: Case, part: Segment) -> float:
    """Of the network as it is; `part` has been measured on."""
    meter = case.task.meter()
    for outputs, label in zip(part.dense, part.labels, strict=True):
        meter.add(outputs, outputs, label)
    return meter.result()


def evaluate(
    case: Case, designs: dict[str, Accelerator], frames_of_plans: int, rules: Sequence[Rule]
) -> tuple[dict[str, Any], Plan]:
    """All of one network, and the plan of `reuse`."""
    sample = case.planned.until(frames_of_plans).frames
    found = [
        (budget, result.plan)
        for rule in rules
        for budget, result in zip(
            BUDGETS,
            plans_within(
                BUDGETS,
                case.model,
                sample,
                CalibrationOptions(objective="energy", rule=rule, stress=False, frames=len(sample)),
            ),
            strict=True,
        )
    ]
    session = Session(case.model, found[0][1])
    bench = Bench(case.model, session.graph, metric=case.task.meter)
    points = [judge(case, bench, plan, budget) for budget, plan in found]
    uniform = [
        judge(case, bench, one_width(session, iter(sample), bits=bits), bits) for bits in WIDTHS
    ]
    dense = dense_error(case, case.judged)
    limit, allowed = case.task.no_loss(dense_error(case, case.planned)), case.task.no_loss(dense)
    ours, best = (_cheapest(each, "judged_error", allowed) for each in (points, uniform))
    earlier = {
        "reuse": _cheapest(points, "planned_error", limit),
        "uniform": _cheapest(uniform, "planned_error", limit),
    }
    rows = [
        row.as_dict() for row in simulated(case, session.with_plan(ours.plan), SCHEMES, designs)
    ]
    others = {"uniform": best} | {f"{name}, {EARLIER}": point for name, point in earlier.items()}
    for name, point in others.items():
        under = simulated(case, session.with_plan(point.plan), ("reuse",), designs)
        rows += [{**row.as_dict(), "scheme": row.label.replace("reuse", name)} for row in under]
    # Static quantization leaves recurrent layers as they are.
    recurrent = any(isinstance(node.op, Recurrence) for node in session.graph.nodes)
    engines = (FP32, DYNAMIC_INT8 if recurrent else INT8)
    times = compare(
        session.with_plan(ours.plan), case.model, iter(case.judged.frames), engines=engines
    )
    record = {
        "task": case.task.name,
        "dense_error": dense,
        "no_loss_error": allowed,
        "frames": {
            "plans": len(sample),
            "planned": len(case.planned.frames),
            "judged": len(case.judged.frames),
        },
        "ours": ours.as_dict(),
        "uniform": best.as_dict(),
        "chosen_before": {name: point.as_dict() for name, point in earlier.items()},
        "published_width": next(p for p in uniform if p.setting == case.task.bits).as_dict(),
        "budgets": [point.as_dict() for point in points],
        "widths": [point.as_dict() for point in uniform],
        "simulated": rows,
        "time_ms": times.time_ms,
        "speedup_on_cpu": times.speedup,
    }
    return record, ours.plan


def _cheapest(points: Sequence[Point], error: str, limit: float) -> Point:
    """The one with most reuse whose error is within the limit; the most careful if none is."""
    kept = [point for point in points if getattr(point, error) <= limit]
    return max(kept or points[-1:], key=lambda point: point.computation_reuse)


def simulated(
    case: Case,
    session: Session,
    schemes: Sequence[str],
    designs: dict[str, Accelerator],
) -> list[Row]:
    """Rows of a network."""
    judged = case.judged
    return study(
        session, case.model, lambda: iter(judged.frames), schemes, designs,
        metric=case.task.meter, labels=judged.labels, widen=case.true_width,
        fallback=Fallback(lambda: iter(case.planned.frames)),
    )  # fmt: skip


def as_markdown(networks: dict[str, dict[str, Any]]) -> str:
    """Tables: accuracy, the reuse accelerator, all accelerators, this CPU."""
    lines = ["# The literature's evaluation", "", *_accuracy(networks)]
    for accelerator in ("reuse", *(n for n in accelerator_names() if n != "reuse")):
        lines += ["", f"## Simulated on {accelerator}", "", *_speed(networks, accelerator)]
    lines += [
        "",
        "## On this CPU, time per frame",
        "",
        "| network | engine | median | mquans is faster by |",
        "|---|---|---:|---:|",
    ]
    for name, found in networks.items():
        for engine, times in found["time_ms"].items():
            ratio = found["speedup_on_cpu"].get(engine, 1.0)
            lines.append(f"| {name} | {engine} | {times['median']:.3f} ms | {ratio:.2f}x |")
    return "\n".join((*lines, ""))


def _accuracy(networks: dict[str, dict[str, Any]]) -> list[str]:
    """Errors of what the literature's rule picks, the cheapest without loss, and of what was picked
    on other data."""
    heads = (
        "mquans",
        "one width",
        f"mquans, {EARLIER}",
        f"one width, {EARLIER}",
        "published width",
    )
    lines = [
        f"| network | error | dense | allowed | {' | '.join(heads)} |",
        "|---|---|" + "---:|" * (2 + len(heads)),
    ]
    for name, found in networks.items():
        earlier = found["chosen_before"]
        allowed = found["no_loss_error"]
        points = (
            found["ours"],
            found["uniform"],
            earlier["reuse"],
            earlier["uniform"],
            found["published_width"],
        )
        cells = (
            name,
            found["task"],
            f"{found['dense_error']:.4f}",
            f"{allowed:.4f}",
            *(_point(point, allowed) for point in points),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _point(point: dict[str, Any], allowed: float) -> str:
    setting, loses = point["setting"], point["judged_error"] > allowed
    what = f"{setting} bits" if setting >= 1 else f"`{point['rule']}` {setting:g}"
    return (
        f"{what}: {point['judged_error']:.4f}{' (loses)' if loses else ''}, reuse "
        f"{100 * point['computation_reuse']:.1f} %, similarity {100 * point['similarity']:.1f} %"
    )


def _speed(networks: dict[str, dict[str, Any]], accelerator: str) -> list[str]:
    pure = (*SCHEMES[2:], "uniform", f"reuse, {EARLIER}", f"uniform, {EARLIER}")
    schemes = [f"{name}{suffix}" for name in pure for suffix in ("", ", fallback")]
    lines = [
        "| network | " + " | ".join(schemes) + " |",
        "|---|" + "---:|" * len(schemes),
    ]
    table = []
    for name, found in networks.items():
        rows = {r["scheme"]: r for r in found["simulated"] if r["accelerator"] == accelerator}
        pairs = [(rows[s]["speedup"], rows[s]["energy_saved"]) for s in schemes]
        table.append(pairs)
        lines.append(f"| {name} | " + " | ".join(_cell(*pair) for pair in pairs) + " |")
    means = np.mean(np.array(table), axis=0)
    lines.append("| mean | " + " | ".join(_cell(*pair) for pair in means) + " |")
    return lines


def _cell(speedup: float, saved: float) -> str:
    return f"{speedup:.2f}x, {100 * saved:.1f} %"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--networks", help="names of folders, by default all with a model.onnx")
    parser.add_argument("--plans", type=int, default=240, help="frames that make plans, at most")
    parser.add_argument(
        "--frames", type=int, default=4000, help="frames that choose plans, and that judge, at most"
    )
    parser.add_argument(
        "--rules", type=lambda text: text.split(","), default=["hold", "nearest"],
        help="rules that plans are made for; the cheapest without loss is taken",
    )  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, default=Path("evaluation"))
    asked = parser.parse_args()
    names = (
        asked.networks.split(",")
        if asked.networks
        else sorted(path.parent.name for path in asked.folder.glob("*/model.onnx"))
    )
    designs = {name: load_accelerator(name) for name in accelerator_names()}
    networks: dict[str, dict[str, Any]] = {}
    for name in names:
        case = load_case(asked.folder / name, asked.frames)
        networks[name], plan = evaluate(case, designs, asked.plans, asked.rules)
        write_plan(plan, asked.output.with_name(f"{asked.output.name}-{name}.plan.json"))
        asked.output.with_suffix(".json").write_text(json.dumps(networks, indent=1))
        asked.output.with_suffix(".md").write_text(as_markdown(networks))
        print(as_markdown(networks), flush=True)
    from mquans_studies.accelerators.plot import plot_simulation

    bars = [
        (name, row["scheme"], row["speedup"], row["energy_saved"])
        for name, found in networks.items()
        for row in found["simulated"]
        if row["accelerator"] == "reuse" and row["scheme"] != "dense"
    ]
    plot_simulation(bars, asked.output.with_suffix(".svg"), title="reuse accelerator")


if __name__ == "__main__":
    main()
