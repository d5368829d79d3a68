"""The stages of calibration, in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from mquans.calibration.allocate import GRID_BITS, uniform_layers
from mquans.calibration.inputs import Clip, InputSetup, Spec, as_specs, load_clips, resolve_inputs
from mquans.calibration.measure import measure
from mquans.calibration.observe import LayerRange, observe
from mquans.calibration.result import BudgetError, CalibrationResult, Sweep
from mquans.engine.session import Session
from mquans.errors import MquansError
from mquans.evaluate import Track, silent
from mquans.graph import Graph
from mquans.importers import ModelFile, import_model, read_model
from mquans.plan import InputFormat, Plan, Provenance, Rule

DEFAULT_BITS = 8
CANDIDATE_BITS = tuple(range(4, GRID_BITS + 1))
HELD_OUT = 0.25
"""Share of every clip, its last part, that ranges are not taken from and candidates are measured
on."""


def calibrate(
    model: Any,
    source: Spec | Sequence[str | Path],
    *,
    bits: int | None = None,
    max_loss: float | None = None,
    rule: Rule = "hold",
    weight_bits: Literal[8, 16] = 16,
    frames: int | None = None,
    skip: int = 0,
    stride: int = 1,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    input: InputFormat | Mapping[str, Any] | None = None,
    threads: int = 1,
    track: Track = silent,
) -> Plan:
    """Makes a plan for a network from a sample of its stream.

    Args:
        model: ONNX file, its bytes, a ModelProto, or a torch module.
        source: a clip as `open_source` takes it, or a list of paths of several.
        bits: for every neuron; 8 if neither this nor max_loss is given.
        max_loss: the largest loss (95th percentile, see `evaluate.agreement`) on held-out frames;
            the fewest bits that keep it are taken.
        rule: when a held value is updated.
        weight_bits: width of the integer weights.
        frames, skip, stride: which frames of every clip; by default 240 shared among all.
        input_shapes: fixed shapes of inputs, for dynamic dimensions or to override.
        input: how pictures are prepared, or fields of `InputFormat` over what is guessed.

    Returns:
        The plan. `calibrate_fully` returns what was measured beside it.

    Raises:
        BudgetError: no number of bits keeps max_loss.
        ModelError, SourceError: the model or a clip cannot be used.
    """
    result = calibrate_fully(
        model,
        source,
        bits=bits,
        max_loss=max_loss,
        rule=rule,
        weight_bits=weight_bits,
        frames=frames,
        skip=skip,
        stride=stride,
        input_shapes=input_shapes,
        input=input,
        threads=threads,
        track=track,
    )
    if not result.reached:
        raise BudgetError(result)
    return result.plan


def calibrate_fully(
    model: Any,
    source: Spec | Sequence[str | Path],
    *,
    bits: int | None = None,
    max_loss: float | None = None,
    **options: Any,
) -> CalibrationResult:
    """As `calibrate`, with everything that was measured; a budget out of reach does not raise."""
    if bits is not None and max_loss is not None:
        raise MquansError("bits and max_loss exclude each other.", hint="Give one of the two.")
    if bits is not None and not 1 <= bits <= GRID_BITS:
        raise MquansError(f"bits must be from 1 to {GRID_BITS}, not {bits}.")
    if max_loss is not None and not max_loss > 0:
        raise MquansError(f"the largest loss must be greater than 0, not {max_loss:g}.")
    candidates = CANDIDATE_BITS if max_loss is not None else (bits or DEFAULT_BITS,)
    found = sweep(model, source, candidates, **options)
    return decide(found, max_loss)


def sweep(
    model: Any,
    source: Spec | Sequence[str | Path],
    candidates: Sequence[int],
    *,
    rule: Rule = "hold",
    weight_bits: Literal[8, 16] = 16,
    frames: int | None = None,
    skip: int = 0,
    stride: int = 1,
    input_shapes: Mapping[str, Sequence[int]] | None = None,
    input: InputFormat | Mapping[str, Any] | None = None,
    threads: int = 1,
    track: Track = silent,
) -> Sweep:
    """Measures several uniform bit widths; arguments as `calibrate`."""
    file = read_model(model)
    specs = as_specs(source)
    setup = resolve_inputs(file, specs[0], input_shapes=input_shapes, input=input)
    graph = import_model(file, input_shapes=setup.shapes)
    inputs = {name: graph.shape(name) for name in graph.inputs}
    clips = load_clips(specs, setup, inputs, frames=frames, skip=skip, stride=stride, track=track)
    parts = [clip.split(HELD_OUT) for clip in clips]

    ranges = observe(
        graph, [feeds for early, _ in parts for feeds in early], threads=threads, track=track
    )
    plans = {
        bits: _plan(file, graph, setup, clips, ranges, bits, rule, weight_bits)
        for bits in candidates
    }
    sessions = {bits: Session(file, plan, threads=threads) for bits, plan in plans.items()}
    held_out = [late for _, late in parts]
    found = measure(file, sessions, held_out, threads=threads, track=track)
    return Sweep(plans, found.by_bits, found.frozen_loss, sum(map(len, held_out)))


def decide(found: Sweep, max_loss: float | None) -> CalibrationResult:
    """The fewest bits whose measured loss keeps the budget; without one, the only candidate."""
    if max_loss is None:
        bits = next(iter(found.plans))
        return CalibrationResult(found.plans[bits], bits, None, True, found)
    fitting = [bits for bits, m in found.measured.items() if m.loss <= max_loss]
    reached = bool(fitting)
    bits = min(fitting) if reached else min(found.measured, key=lambda b: found.measured[b].loss)
    return CalibrationResult(found.plans[bits], bits, max_loss, reached, found)


def _plan(
    file: ModelFile,
    graph: Graph,
    setup: InputSetup,
    clips: Sequence[Clip],
    ranges: Mapping[str, LayerRange],
    bits: int,
    rule: Rule,
    weight_bits: Literal[8, 16],
) -> Plan:
    try:
        made_by = version("mquans")
    except PackageNotFoundError:
        made_by = "not installed"
    return Plan(
        model=file.name,
        model_sha256=file.sha256,
        input_shapes={name: graph.shape(name) for name in graph.inputs},
        input=setup.format,
        rule=rule,
        grid_bits=GRID_BITS,
        layers=uniform_layers(graph, ranges, bits=bits, weight_bits=weight_bits),
        provenance=Provenance(
            mquans=made_by,
            sources=tuple(clip.name for clip in clips),
            frames=sum(len(clip.frames) for clip in clips),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        ),
    )
