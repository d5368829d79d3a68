"""One cell of the table: every engine on one network, clip and number of threads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from msgspec.structs import replace

import mquans
from mquans.baselines import ENGINES, Engine, GatedEngine, open_engine
from mquans.baselines.gated import moved_share, value_range
from mquans.errors import MquansError
from mquans.evaluate import TunedGate, Work, activation_bytes, interleave, speedups, tune_gate
from mquans.evaluate.interleave import Outputs, Step, summary, take_turns
from mquans.metrics.agreement import Agreement
from mquans.onnx import ModelFile
from mquans.plan import NetworkOptions, Plan
from mquans.sources.frames import Feeds
from mquans_studies.cases.fidelity import Detections, Rule, fidelity
from mquans_studies.cases.networks import NETWORKS, AsPixels, cut_frames
from mquans_studies.cases.plans import run_dense

REFERENCE = "ort-fp32"
GATED = "gated"
OURS = {"uniform": "mquans", "criticality": "mquans-criticality"}
"""Name in the table by plan."""

MOTION_GATED = "mquans-motion-gate"
"""The plan of criticality with a motion gate of ours, beside `gated`."""

PLANS = {**OURS, "motion-gate": MOTION_GATED}

ALONE = "mquans-1-thread"
"""Our engine under the uniform plan on one thread, in cells of several."""

DENSE = "mquans-dense"
"""Our engine with everything computed in every frame."""

MOTION = 8 / 255
MOVING_PIXELS = 0.01
"""Something moves in a frame when more than this share of its pixels differ by more than `MOTION`
of the range of values from the frame before."""


TURN = 12
"""Frames that an engine runs in a row while it is timed."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What is to be measured.

    Attributes:
        calibration: frames that int8 engines learn from; plans learned from the same.
        frames: that are measured.
        plans: by name of `PLANS`.
        judged: how the plans were judged on the frames, by name.
    """

    network: str
    clip: str
    threads: int
    model: ModelFile
    calibration: Sequence[Feeds]
    frames: Sequence[Feeds]
    plans: Mapping[str, Plan]
    judged: Mapping[str, Mapping[str, Any]]


def measure(cell: Cell, engines: Sequence[str]) -> dict[str, Any]:
    """Times and fidelity of all engines in one run, as plain data.

    Outputs are compared with the engines alternating; for time they take turns of `TURN` frames, so
    that caches are those of a process that runs one network.

    Args:
        engines: of `ENGINES`, besides `ort-fp32`, which always runs; those that cannot run are
            reported with the reason.
    """
    target = NETWORKS[cell.network]
    # Plans are made from ready frames: those do not tell what their pixels stood for.
    plans = {kind: replace(plan, input=target.format) for kind, plan in cell.plans.items()}
    sessions = {
        PLANS[kind]: mquans.Session(cell.model, plan, threads=cell.threads)
        for kind, plan in plans.items()
    }
    if cell.threads > 1:
        sessions[ALONE] = mquans.Session(cell.model, plans["uniform"], threads=1)
    # All plans compute the same when they compute everything, but for the frames of their ranges.
    whole = sessions[OURS["criticality"]].stream()
    dense, unavailable = _dense_engines(cell, engines)
    tuned = None
    if GATED in engines:
        tuned = _tuned_gate(cell)
        inner = open_engine(
            REFERENCE, cell.model, NetworkOptions(target.shapes), threads=cell.threads
        )
        dense[GATED] = GatedEngine(inner, tuned.gate)
    streams = {name: session.stream() for name, session in sessions.items()}
    steps: dict[str, Step] = {name: stream.step for name, stream in streams.items()}
    steps[DENSE] = partial(whole.step, keyframe=True)
    steps |= {name: engine.step for name, engine in dense.items()}
    boxes = {name: Detections(target.decode) for name in steps if name != REFERENCE}
    works = {name: Work() for name in streams}

    begun = False

    def watch(outputs: dict[str, Outputs]) -> None:
        nonlocal begun
        for name, detections in boxes.items():
            detections.add(outputs[REFERENCE], outputs[name])
        for name, stream in streams.items() if begun else ():
            works[name].add(stream.stats)
        begun = True

    handed = AsPixels(cell.network, cell.frames, (*streams, DENSE))
    run = interleave(
        steps, cell.frames, reference=REFERENCE, on_frame=watch, threads=cell.threads,
        handed=handed,
    )  # fmt: skip
    for begun_anew in (*streams.values(), whole, *dense.values()):
        begun_anew.reset()
    turns = take_turns(steps, cell.frames, turn=TURN, threads=cell.threads, handed=handed)
    time_ms = {name: summary(times) for name, times in turns.items()}
    cuts = cut_frames(cell.clip, len(cell.frames))
    rows: dict[str, dict[str, Any]] = {}
    for name in steps:
        times = turns[name]
        rows[name] = {"time_ms": {**time_ms[name], "first": float(times[0])}}
        if cuts:
            rows[name]["time_ms"]["cut"] = float(np.median(times[cuts]))
        if name in boxes:
            found, detections = run.agreement[name], boxes[name]
            rows[name] |= {**found.as_dict(), "f1": detections.f1, "objects": detections.objects}
        if name in dense:
            rows[name]["description"] = dense[name].description
        elif name == DENSE:
            rows[name]["description"] = "mquans, everything computed in every frame"
        else:
            rows[name] |= _ours(sessions[name], streams[name], works[name])
    for kind in cell.plans:
        rows[PLANS[kind]]["keeps_rule"] = cell.judged[kind]["keeps_rule"]
    if tuned is not None:
        rows[GATED] |= {"computed_frames": tuned.computed, "tuned_on": "the measured frames"}
    return {
        "network": cell.network,
        "clip": cell.clip,
        "threads": cell.threads,
        "frames": len(cell.frames),
        "calibration_frames": len(cell.calibration),
        "moving_frames": moving_frames(cell.frames),
        "engines": rows,
        "unavailable": unavailable,
        "speedup": {
            name: _others(time_ms, name) for name in (*PLANS.values(), DENSE) if name in steps
        },
    }


def moving_frames(frames: Sequence[Feeds]) -> float:
    """Share of the frames in which something moves."""
    level = MOTION * value_range(frames)
    moving = [
        any(moved_share(now[name], before[name], level) > MOVING_PIXELS for name in now)
        for before, now in pairwise(frames)
    ]
    return float(np.mean(moving)) if moving else 0.0


def _dense_engines(cell: Cell, engines: Sequence[str]) -> tuple[dict[str, Engine], dict[str, str]]:
    opened: dict[str, Engine] = {}
    unavailable = {}
    for name in dict.fromkeys((REFERENCE, *(n for n in ENGINES if n in engines))):
        if name == GATED:
            continue
        try:
            opened[name] = open_engine(
                name,
                cell.model,
                NetworkOptions(NETWORKS[cell.network].shapes),
                threads=cell.threads,
                calibration=cell.calibration,
            )
        except MquansError as error:
            unavailable[name] = str(error)
    return opened, unavailable


def _tuned_gate(cell: Cell) -> TunedGate:
    """The gate that saves most among those that keep the rule that our plans keep."""
    decode = NETWORKS[cell.network].decode
    dense = run_dense(cell.model, cell.frames, NETWORKS[cell.network].shapes)
    rule = Rule(cell.judged["uniform"]["int8_rel_sq_p95"])

    def accept(_: Agreement, shown: Sequence[Outputs]) -> bool:
        return rule.kept(fidelity(dense, shown, decode))

    return tune_gate(cell.frames, dense, accept)


def _ours(session: mquans.Session, stream: mquans.Stream, work: Work) -> dict[str, Any]:
    dense_bytes = activation_bytes(session.graph)
    return {
        "macs_fraction": work.macs_fraction,
        "macs_per_frame": work.macs_total // max(work.frames, 1),
        "state_bytes": stream.state_bytes,
        "activation_bytes": dense_bytes,
        "state_ratio": stream.state_bytes / dense_bytes,
        "weights_bytes": session.weights_bytes,
        "description": f"mquans, {session.isa}, {session.threads} threads",
    }


def _others(time_ms: Mapping[str, Mapping[str, float]], ours: str) -> dict[str, float]:
    """Speed-ups of one of our engines over all others that are not ours."""
    mine = {*PLANS.values(), ALONE, DENSE} - {ours}
    times = {name: t for name, t in time_ms.items() if name not in mine}
    return speedups(times, ours, motion_gate=ours == MOTION_GATED)
