"""From the result of a calibration to the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mquans.calibration import CalibrationResult
from mquans.calibration.observe import tensor_of
from mquans.evaluate.work import LayerWork
from mquans.files import PathLike
from mquans.graph import Node
from mquans.report.content import Content, Curve, LayerRow
from mquans.report.page import write_report
from mquans.report.watching import watch
from mquans.runtime.session import Session
from mquans.sources import OnError, open_source
from mquans.sources.frames import Feeds, feeds_of, finite

WATCHED_FRAMES = 48
"""How many frames the map of work is drawn from."""

CURVE_BITS = 12


def report_calibration(
    result: CalibrationResult,
    model: Any,
    source: Any,
    path: PathLike,
    *,
    skip: int = 0,
    stride: int = 1,
    on_error: OnError = "stop",
    threads: int = 1,
) -> None:
    """Writes the report of a calibration.

    Args:
        result: from `calibrate_fully`; with `compare=` its report shows further methods.
        model: the one that was calibrated.
        source: one clip, for the map of where work is done; its first frames are run once more.

    Raises:
        DependencyError: matplotlib is not installed.
        MquansError: the source cannot be read, or the file not written.
    """
    session = Session(model, result.plan, threads=threads)
    inputs = session.graph.inputs
    shapes = {name: session.graph.shape(name) for name in inputs}
    with open_source(
        source,
        result.plan.preparation,
        input_shapes=shapes,
        frames=WATCHED_FRAMES,
        skip=skip,
        stride=stride,
        on_error=on_error,
    ) as clip:
        frames = [feeds for feeds in (feeds_of(frame, inputs) for frame in clip) if finite(feeds)]
    write_report(content_of(result, session, frames), path)


def content_of(
    result: CalibrationResult, session: Session, frames: Sequence[Feeds] = ()
) -> Content:
    """What the report shows.

    Args:
        session: of the result's plan.
        frames: consecutive ones for the map of work; without any there is none.
    """
    seen = watch(session, frames)
    layers = result.measured.work.layers
    return Content(
        title=f"Calibration of {result.plan.model}",
        verdict=result.verdict,
        kept=result.reached,
        facts=_facts(result),
        layers=[_row(result, node, layers[node.name]) for node in session.graph.reuse_layers()],
        pareto=_curves(result),
        chosen=(result.measured.work.macs_fraction, result.measured.loss),
        budget=result.budget,
        work=None if seen is None else seen[0],
        picture=None if seen is None else seen[1],
    )


def _facts(result: CalibrationResult) -> Mapping[str, str]:
    plan, measured = result.plan, result.measured
    agreement = measured.agreement
    facts = {
        "clips": ", ".join(plan.provenance.sources),
        "frames": f"{plan.provenance.frames}, of which {result.held_out_frames} are for validation",
        "method": result.method if result.bits is None else f"{result.method}, {result.bits} bits",
        "rule": plan.rule,
        "budget": "none" if result.budget is None else f"{result.budget:g}",
        "loss": f"{measured.loss:.3g}",
        "MACs done": f"{measured.work.macs_fraction:.1%}, "
        f"{measured.moving.macs_fraction:.1%} without first frames",
        "similarity": f"{measured.work.similarity:.1%}",
        "relative squared error": f"{agreement.rel_sq_mean:.3g} mean, "
        f"{agreement.rel_sq_p95:.3g} 95th percentile",
        "loss of a frozen output": f"{result.frozen_loss:.3g}"
        + ("" if result.tells_frozen else " (these frames cannot tell it from a good one)"),
    }
    if result.stress is not None:
        facts["loss on stress segments"] = f"{result.stress.loss:.3g}"
    if result.repairs:
        facts["repairs"] = f"{result.repairs}"
    if result.stages.seconds:
        parts = ", ".join(f"{name} {time:.0f} s" for name, time in result.stages.seconds.items())
        facts["time"] = parts
    facts["made"] = f"{plan.provenance.created} with mquans {plan.provenance.mquans}"
    return facts


def _curves(result: CalibrationResult) -> dict[str, Curve]:
    """Points by method; what the plan was selected from only where nothing else shows it."""
    curves: dict[str, Curve] = {name: list(c) for name, c in result.stages.compared.items()}
    for name, curve in result.stages.tried.items():
        curves.setdefault(name, list(curve))
    if result.uniform:
        points = [(m.work.macs_fraction, m.loss) for m in result.uniform.values()]
        curves.setdefault("uniform", points)
    return {name: curve for name, curve in curves.items() if curve}


def _row(result: CalibrationResult, node: Node, work: LayerWork) -> LayerRow:
    seen = result.stages.observation
    tensor = tensor_of(node)
    neurons = change = None
    if seen is not None and tensor in seen.curves:
        reach = seen.ranges[tensor].layer or 1.0
        steps = reach * np.exp2(-np.arange(1.0, CURVE_BITS + 1))
        change, _ = seen.curves[tensor].at(result.plan.rule, steps)
        neurons = len(change)
    bits = np.rint(result.bits_of(node.name) or [0]).astype(np.int64)
    planned = {layer.name: layer.weight_bits for layer in result.plan.layers}
    return LayerRow(
        name=node.name,
        macs=work.macs // max(result.measured.work.frames, 1),
        macs_fraction=work.macs_fraction,
        similarity=work.similarity,
        bits=bits if neurons is None else np.broadcast_to(bits, (neurons,)),
        weight_bits=planned.get(node.name, 16),
        criticality=result.stages.criticality.get(node.name),
        change=change,
    )
