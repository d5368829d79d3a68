"""Mutated models, plans and saved states: no crash, no hang, and every error a `MquansError`.

    python -m tests.fuzz.run --seed 1 --seconds 600

Every mutant runs in a child process of its own, with limits on time and memory. A finding is
written to `--keep` and can be run again with `--again FILE`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pickle
import random
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime

from mquans import Session
from mquans.errors import MquansError
from mquans.graph import Graph
from mquans.onnx import import_model, read_model
from mquans.plan import GatePlan, LayerPlan, Plan, TensorPlan
from mquans.plan.file import read_plan
from mquans.plan.schema import Provenance
from mquans.runtime.lowering.sites import analyse

from .mutations import mutated_model, mutated_plan, mutated_state
from .networks import networks

LIMIT_S = 10.0
LIMIT_BYTES = 2 << 30
LARGE = 1 << 21
"""Numbers in all tensors of a network."""

MADE = Provenance(mquans="0", sources=(), frames=0, created="2020-01-01T00:00:00Z")

KINDS = ("model", "plan", "state")

Bases = dict[tuple[str, bool], tuple[bytes, bytes]]
"""(plan, state) by network, and whether it is computed by sites."""


@dataclass(frozen=True)
class Mutant:
    """What is tried: the bytes of a file of its kind, made from a network, by sites or by value."""

    kind: str
    network: str
    by_sites: bool
    data: bytes


@dataclass(frozen=True)
class Outcome:
    """`good`: it ran, or was refused in a sentence."""

    good: bool
    text: str


def plan_for(graph: Graph, sha256: str, *, by_sites: bool) -> Plan:
    """A plan of some precision for any graph."""
    analysis = analyse(graph) if by_sites else None
    coded = analysis.fresh() if analysis else {}
    gate = GatePlan(scale=0.5)
    tensors = tuple(
        TensorPlan(name=name, axis=coding.axis, exponents=-6, bits=14, gate=gate)
        for name, coding in coded.items()
    )
    layers = tuple(
        LayerPlan(name=layer.name, delta=1 / 256, bits=8, weight_bits=8)
        for layer in graph.reuse_layers()
        if analysis is None or layer.name not in analysis.integer_nodes
    )
    shapes = {name: graph.shape(name) for name in graph.inputs}
    return Plan(
        model="m", model_sha256=sha256, input_shapes=shapes, tolerance=0.01, tensors=tensors,
        layers=layers, provenance=MADE,
    )  # fmt: skip


def frames_of(graph: Graph) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(0)
    first = {name: rng.normal(size=graph.shape(name)).astype(np.float32) for name in graph.inputs}
    second = {name: array.copy() for name, array in first.items()}
    for array in second.values():
        array.reshape(-1)[: max(1, array.size // 3)] += 1
    return [first, second, first]


def use(session: Session) -> str:
    """What a service does with a stream; large networks are only made, since running them takes its
    time."""
    if sum(kind.size for kind in session.graph.types.values()) > LARGE:
        return "large, made but not run"
    stream = session.stream()
    for frame in frames_of(session.graph):
        stream.step(frame)
    again = session.restore(stream.save())
    again.clone().check()
    return "runs"


def try_model(mutant: Mutant) -> str:
    file = read_model(mutant.data)
    graph = import_model(file)
    done = use(Session(file, plan_for(graph, file.sha256, by_sites=mutant.by_sites)))
    if done == "runs" and not dense_runs(mutant.data, graph):
        return "runs, onnxruntime refuses it"
    return done


def dense_runs(data: bytes, graph: Graph) -> bool:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(data, options)
        types = {"tensor(double)": np.float64, "tensor(float16)": np.float16}
        frame = frames_of(graph)[0]
        feeds = {
            i.name: frame[i.name].astype(types.get(i.type, np.float32))
            for i in session.get_inputs()
        }
        session.run(None, feeds)
    except Exception:
        return False
    return True


def try_plan(mutant: Mutant) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plan.json"
        path.write_bytes(mutant.data)
        return use(Session(networks()[mutant.network], read_plan(path)))


def try_state(mutant: Mutant) -> str:
    session = base_session(mutant.network, by_sites=mutant.by_sites)
    stream = session.restore(mutant.data)
    for frame in frames_of(session.graph):
        stream.step(frame)
    stream.check()
    return "runs"


TRIALS: dict[str, Callable[[Mutant], str]] = {
    "model": try_model,
    "plan": try_plan,
    "state": try_state,
}


@cache
def base_session(network: str, *, by_sites: bool) -> Session:
    file = read_model(networks()[network])
    return Session(file, plan_for(import_model(file), file.sha256, by_sites=by_sites))


def attempt(mutant: Mutant) -> Outcome:
    """One mutant in a child process."""
    reader, writer = os.pipe()
    if not (child := os.fork()):
        _child(mutant, reader, writer)
    os.close(writer)
    ready, _, _ = select.select([reader], [], [], LIMIT_S)
    if not ready:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reader)
        return Outcome(False, "hang")
    with os.fdopen(reader, "rb") as pipe:
        data = pipe.read()
    _, status = os.waitpid(child, 0)
    if status or not data:
        return Outcome(False, f"crash, status {status}")
    outcome: Outcome = pickle.loads(data)
    return outcome


def _child(mutant: Mutant, reader: int, writer: int) -> None:
    os.close(reader)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    size = pages * resource.getpagesize() + LIMIT_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    try:
        outcome = Outcome(True, TRIALS[mutant.kind](mutant))
    except MquansError as error:
        outcome = Outcome(True, type(error).__name__)
        if len(str(error).splitlines()) != 1:
            outcome = Outcome(False, f"error of several lines: {error}")
    except BaseException as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        text = f"{type(error).__name__} in {Path(place.filename).name}:{place.lineno}: {error}"
        outcome = Outcome(False, text.splitlines()[0][:200])
    with contextlib.suppress(OSError):
        os.write(writer, pickle.dumps(outcome))
    os._exit(0)


def made(rng: random.Random, kind: str, bases: Bases) -> Mutant:
    """A random mutant of a kind."""
    network, by_sites = rng.choice(list(bases))
    plan, state = bases[network, by_sites]
    if kind == "model":
        data = mutated_model(rng, networks()[network])
    else:
        data = mutated_plan(rng, plan) if kind == "plan" else mutated_state(rng, state)
    return Mutant(kind, network, by_sites, data)


def base_files() -> Bases:
    bases = {}
    for network in networks():
        for by_sites in (False, True):
            session = base_session(network, by_sites=by_sites)
            with tempfile.TemporaryDirectory() as folder:
                session.plan.save(Path(folder) / "plan.json")
                plan = (Path(folder) / "plan.json").read_bytes()
            stream = session.stream()
            for frame in frames_of(session.graph):
                stream.step(frame)
            bases[network, by_sites] = plan, stream.save()
    return bases


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=1 << 62, help="of each kind, at most")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--keep", type=Path, help="folder for mutants that are findings")
    parser.add_argument("--again", type=Path, help="run one kept mutant in this process")
    options = parser.parse_args()
    if options.again:
        mutant: Mutant = pickle.loads(options.again.read_bytes())
        TRIALS[mutant.kind](mutant)
        return 0
    rng, bases = random.Random(options.seed), base_files()
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in options.kinds}
    findings = 0
    until = time.monotonic() + options.seconds
    number = 0
    while time.monotonic() < until and number < options.count:
        number += 1
        for kind in options.kinds:
            mutant = made(rng, kind, bases)
            outcome = attempt(mutant)
            counts[kind][outcome.text if outcome.good else "FINDING"] += 1
            if not outcome.good:
                findings += 1
                sys.stdout.write(f"{kind} {number} of {mutant.network}: {outcome.text}\n")
                sys.stdout.flush()
                if options.keep:
                    options.keep.mkdir(parents=True, exist_ok=True)
                    path = options.keep / f"{kind}-{options.seed}-{number}.pickle"
                    path.write_bytes(pickle.dumps(mutant))
    for kind, outcomes in counts.items():
        listed = ", ".join(f"{text} {count}" for text, count in outcomes.most_common())
        sys.stdout.write(f"{kind}: {outcomes.total()} mutants: {listed}\n")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
