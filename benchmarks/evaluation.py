"""The literature's evaluation: network x scheme x accelerator, in one command.

    python benchmarks/evaluation.py FOLDER -o evaluation

FOLDER holds a folder per network, as `python -m mquans.zoo train` writes them: plans are made from
calibration.npy and judged on test.npy. Of a network NAME that was trained with fewer channels, the
folder NAME-true holds one of its true width, untrained.onnx: cycles and energy are for that one.
Writes evaluation.json, .md and .svg, and the plan of each network as evaluation-NAME.plan.json;
`docs/evaluation.md` explains them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scores import TASKS, Task

from mquans import Session
from mquans.calibration import Goal, Selected, one_width, plans_within
from mquans.errors import MquansError
from mquans.evaluate import compare, load_labels, run_traced
from mquans.evaluate.layer_shape import LayerShape, layer_geometry
from mquans.graph import Recurrence
from mquans.importers import ModelFile, import_model, read_model
from mquans.plan import Plan, Rule, write_plan
from mquans.simulate import Accelerator, accelerator_names, load_accelerator, study
from mquans.simulate.study import Row

WIDTHS = range(3, 11)
BUDGETS = (0.3, 0.1, 0.03, 0.01, 0.003)
"""Losses that plans are made for (docs/reference/measures.md), largest first."""

SCHEMES = ("dense", "reuse", "nearest", "hold", "repetition", "memory", "reuse+repetition")
FP32, INT8, DYNAMIC_INT8 = "ort-fp32", "ort-int8", "ort-int8-dynamic"


@dataclass(frozen=True, slots=True)
class Case:
    """A trained network with data, frames first, and a label per frame."""

    name: str
    model: ModelFile
    task: Task
    planned: tuple[Any, list[Any]]
    judged: tuple[Any, list[Any]]
    true_width: tuple[LayerShape, ...] | None


@dataclass(frozen=True, slots=True)
class Point:
    """A plan, and its error on data that plans are made from and on data that judge."""

    knob: float
    rule: Rule
    plan: Plan
    planned_error: float
    judged_error: float
    similarity: float
    computation_reuse: float

    def as_dict(self) -> dict[str, Any]:
        names = ("knob", "rule", "planned_error", "judged_error", "similarity", "computation_reuse")
        return {name: getattr(self, name) for name in names}


def load_case(folder: Path, frames: int) -> Case:
    """A network of the zoo.

    Raises:
        MquansError: a file is missing, or the card names no known accuracy.
    """
    try:
        card = json.loads((folder / "card.json").read_text())
        planned, judged = (_labelled(folder, name, frames) for name in ("calibration", "test"))
    except (OSError, ValueError) as error:
        raise MquansError("is no trained network.", where=str(folder)) from error
    task = next((TASKS[name] for name in card["accuracy"] if name in TASKS), None)
    if task is None:
        raise MquansError("the card names no accuracy that is known.", where=str(folder))
    return Case(
        folder.name,
        read_model(folder / "model.onnx"),
        task,
        planned,
        judged,
        _layers(folder.with_name(f"{folder.name}-true") / "untrained.onnx"),
    )


def _labelled(folder: Path, name: str, frames: int) -> tuple[Any, list[Any]]:
    stream = np.load(folder / f"{name}.npy", mmap_mode="r")[:frames]
    labels = load_labels(str(folder / f"{name}_labels.jsonl"))
    return stream, list(labels[: len(stream)])


def _layers(path: Path) -> tuple[LayerShape, ...] | None:
    if not path.exists():
        return None
    graph = import_model(read_model(path))
    return tuple(layer_geometry(graph, node).shape for node in graph.reuse_layers())


def errors_of(case: Case, session: Session, plan: Plan, knob: float) -> tuple[Point, float]:
    """A plan judged, and the dense network's error on the judging data."""
    runs = [
        run_traced(
            session.with_plan(plan), case.model, frames, metric=case.task.meter, labels=labels
        )
        for frames, labels in (case.planned, case.judged)
    ]
    found = [run.task_loss or 0.0 for run in runs]
    trace = runs[1].trace
    point = Point(knob, plan.rule, plan, *found, trace.similarity, trace.computation_reuse)
    return point, runs[1].dense_task_loss or 0.0


def evaluate(
    case: Case, designs: dict[str, Accelerator], frames_of_plans: int, rules: Sequence[Rule]
) -> tuple[dict[str, Any], Plan]:
    """All of one network, and the plan of `reuse`."""
    frames, labels = case.planned
    made = min(len(frames), frames_of_plans)
    found = [
        (budget, result.plan)
        for rule in rules
        for budget, result in zip(
            BUDGETS,
            plans_within(
                BUDGETS,
                Goal(objective="energy", accelerator="reuse", rule=rule, stress=False),
                case.model,
                frames[:made],
                Selected(frames=made),
            ),
            strict=True,
        )
    ]
    session = Session(case.model, found[0][1])
    dense_planned = run_traced(
        session, case.model, frames, metric=case.task.meter, labels=labels
    ).dense_task_loss
    points, dense = [], 0.0
    for budget, plan in found:
        point, dense = errors_of(case, session, plan, budget)
        points.append(point)
    limit, allowed = case.task.no_loss(dense_planned or 0.0), case.task.no_loss(dense)
    chosen = _cheapest(points, lambda point: point.planned_error <= limit)
    uniform = [
        errors_of(case, session, one_width(session, iter(frames[:made]), bits=bits), bits)[0]
        for bits in WIDTHS
    ]
    best = _cheapest(uniform, lambda point: point.judged_error <= allowed)
    peeked = _cheapest(points, lambda point: point.judged_error <= allowed)
    ours = session.with_plan(chosen.plan)
    rows = simulated(case, ours, SCHEMES, designs, None)
    rows += simulated(case, ours, ("uniform",), designs, best.plan)
    best_of_ours = [
        {**row.as_dict(), "scheme": "reuse, by judging data"}
        for row in simulated(case, session.with_plan(peeked.plan), ("reuse",), designs, None)
    ]
    # Static quantization leaves recurrent layers as they are.
    recurrent = any(isinstance(node.op, Recurrence) for node in session.graph.nodes)
    engines = (FP32, DYNAMIC_INT8 if recurrent else INT8)
    times = compare(ours, case.model, iter(case.judged[0]), engines=engines)
    record = {
        "task": case.task.name,
        "dense_error": dense,
        "no_loss_error": allowed,
        "frames": {"plans": made, "planned": len(frames), "judged": len(case.judged[0])},
        "ours": chosen.as_dict(),
        "ours_without_loss": chosen.judged_error <= allowed,
        "ours_by_judging_data": peeked.as_dict(),
        "uniform": best.as_dict(),
        "uniform_without_loss": best.judged_error <= allowed,
        "published_width": next(p for p in uniform if p.knob == case.task.bits).as_dict(),
        "budgets": [point.as_dict() for point in points],
        "widths": [point.as_dict() for point in uniform],
        "simulated": [*(row.as_dict() for row in rows), *best_of_ours],
        "time_ms": times.time_ms,
        "speedup_on_cpu": times.speedup,
    }
    return record, chosen.plan


def _cheapest(points: Sequence[Point], harmless: Callable[[Point], bool]) -> Point:
    """The one with most reuse that loses nothing; the most careful if all lose."""
    kept = [point for point in points if harmless(point)]
    return max(kept or points[-1:], key=lambda point: point.computation_reuse)


def simulated(
    case: Case,
    session: Session,
    schemes: Sequence[str],
    designs: dict[str, Accelerator],
    uniform: Plan | None,
) -> list[Row]:
    """Rows of a network."""
    frames, labels = case.judged
    return study(
        session, case.model, lambda: iter(frames), schemes, designs, uniform=uniform,
        metric=case.task.meter, labels=labels, widen=case.true_width,
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
    lines = [
        "| network | error | dense | allowed | mquans | rule | reuse | reuse, by judging data "
        "| one width | bits | reuse | published width | similarity | reuse |",
        "|---|---|" + "---:|" * 12,
    ]
    for name, found in networks.items():
        ours, one, theirs = found["ours"], found["uniform"], found["published_width"]
        cells = (
            name,
            found["task"],
            f"{found['dense_error']:.4f}",
            f"{found['no_loss_error']:.4f}",
            f"{ours['judged_error']:.4f}{'' if found['ours_without_loss'] else ' (loses)'}",
            ours["rule"],
            f"{100 * ours['computation_reuse']:.1f} %",
            f"{100 * found['ours_by_judging_data']['computation_reuse']:.1f} %",
            f"{one['judged_error']:.4f}{'' if found['uniform_without_loss'] else ' (loses)'}",
            f"{one['knob']}",
            f"{100 * one['computation_reuse']:.1f} %",
            f"{theirs['knob']} bits: {theirs['judged_error']:.4f}",
            f"{100 * theirs['similarity']:.1f} %",
            f"{100 * theirs['computation_reuse']:.1f} %",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _speed(networks: dict[str, dict[str, Any]], accelerator: str) -> list[str]:
    schemes = (*SCHEMES[1:], "uniform", "reuse, by judging data")
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
    from mquans.report import plot_simulation

    bars = [
        (name, row["scheme"], row["speedup"], row["energy_saved"])
        for name, found in networks.items()
        for row in found["simulated"]
        if row["accelerator"] == "reuse" and row["scheme"] != "dense"
    ]
    plot_simulation(bars, asked.output.with_suffix(".svg"), title="reuse accelerator")


if __name__ == "__main__":
    main()
