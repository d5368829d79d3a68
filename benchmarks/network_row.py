"""One row of `networks.py`, printed as JSON: one network, measured in this process."""

from __future__ import annotations

import argparse
import json
import resource
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import numpy as np
import onnx
from network_cases import CASES, Case
from network_frames import MANY, frames_of
from onnx import numpy_helper

import mquans
from mquans.baselines import load_engine, prepare_model
from mquans.baselines.int8 import quantize
from mquans.baselines.ort_engine import open_session
from mquans.calibration.context import open_context, open_network
from mquans.calibration.options import CalibrationOptions
from mquans.calibration.pipeline import sweep
from mquans.errors import DependencyError, MquansError, NothingToVerifyError
from mquans.evaluate import Coverage, coverage, verify
from mquans.metrics.agreement import AgreementMeter
from mquans.metrics.scored import scored
from mquans.onnx import ModelFile, read_model
from mquans.onnx.external_weights import tensors_of
from mquans.plan import NetworkOptions
from mquans.sources.frames import Feeds

REFERENCE = "ort-fp32"
COARSE, FINE = 8, 12
"""Bits of the plans under which it is to be exact, and of the one that errors are taken of."""

CALIBRATION, MEASURED, MORE = 8, 4, 24
"""Frames that plans are made from, and those after them on which they are tried; and how many times
more of streams whose frames are short, by networks of fewer than `LIGHT` MACs."""

LIGHT = 100_000_000

WARM_UP, TIMED = 2, 24
"""Frames before time is taken, and frames on which it is."""

Step = Callable[[Feeds], dict[str, Any]]


def row(case: Case, shared: Path, cache: Path, *, timed: bool) -> dict[str, Any]:
    """What is known of one network: `missing` if it is not at hand, `refused` with the sentence of
    a model that is not taken, or the columns of the table."""
    try:
        model = read_model(case.file(shared, cache))
    except (DependencyError, ImportError) as error:
        return {"missing": str(error)}
    try:
        return measured(case, model, timed=timed)
    except MquansError as error:
        return {"refused": str(error)}


def measured(case: Case, model: ModelFile, *, timed: bool) -> dict[str, Any]:
    """The columns of the table.

    Raises:
        MquansError: the network cannot be imported or run.
    """
    options = CalibrationOptions(input_shapes=case.shapes, constants=case.constants)
    graph, setup = open_network(model, None, options)
    fed = {name: graph.shape(name) for name in setup.fed}
    light = case.feed in MANY and coverage(graph).macs < LIGHT
    factor = MORE if light else 1
    learn, show = factor * CALIBRATION, factor * MEASURED
    count = learn + max(show, WARM_UP + TIMED if timed else 0)
    frames = frames_of(case, fed, graph.declared, count)
    learned, shown = frames[:learn], frames[learn:]
    if case.int8:
        data = prepare_model(REFERENCE, model, setup.options)
        model = read_model(quantize(data, learned, form=case.int8))
    found = sweep(open_context(model, learned, options), (COARSE, FINE)).plans
    session = mquans.Session(model, found[FINE])
    network = session.plan.options
    make, make_other = (unoptimized, reference) if case.int8 else (reference, halved)
    tried = shown[:show]
    columns = {
        "inputs": {name: list(shape) for name, shape in fed.items()},
        "int8": case.quantized,
        **covered(coverage(session.graph)),
        "error": error_dense(session, make(network, model), tried),
        "yardstick": error(session, make(network, model), make_other(network, model), tried),
        "exact": exact(mquans.Session(model, found[COARSE]), tried),
        "isa": session.isa,
    }
    return {**columns, **(speed(session, reference(network, model), shown) if timed else {})}


def covered(found: Coverage) -> dict[str, Any]:
    """How the nodes run."""
    left = [node for node in found.nodes if node.mode == "fallback"]
    return {
        "macs": found.macs,
        "reuse": found.reuse_macs_fraction,
        "fallbacks": [
            {"ops": list(part.ops), "reason": part.reason, "macs": node.macs}
            for part, node in zip(found.fallbacks, left, strict=True)
        ],
    }


def error_dense(session: mquans.Session, dense: Step, frames: Sequence[Feeds]) -> float | None:
    """What is lost by everything computed by us, see `error`."""
    stream = session.stream()
    return error(session, dense, lambda feeds: stream.step(feeds, keyframe=True), frames)


def error(
    session: mquans.Session, dense: Step, other: Step, frames: Sequence[Feeds]
) -> float | None:
    """Relative squared error, 95th percentile over frames; None where no output can be compared
    value by value."""
    names = scored(session.graph, session.plan.feedback)
    if not names:
        return None
    meter = AgreementMeter(names)
    for feeds in frames:
        meter.add(dense(feeds), other(feeds))
    return meter.result().rel_sq_p95


def exact(session: mquans.Session, frames: Sequence[Feeds]) -> str:
    """`yes`, or what breaks the law, or that there is nothing to verify."""
    try:
        found = verify(session, frames)
    except NothingToVerifyError:
        return "nothing to verify"
    return "yes" if found.exact else str(found.first_violation)


def speed(session: mquans.Session, dense: Step, frames: Sequence[Feeds]) -> dict[str, Any]:
    """Time of onnxruntime over ours with everything computed, one thread each, frame by frame in
    turns: the median of the ratios, and of both times."""
    stream = session.stream()
    steps: list[Step] = [lambda feeds: stream.step(feeds, keyframe=True), dense]
    times = np.empty((len(frames), 2))
    for index, feeds in enumerate(frames):
        for which in (0, 1) if index % 2 else (1, 0):
            start = perf_counter_ns()
            steps[which](feeds)
            times[index, which] = (perf_counter_ns() - start) / 1e6
    ours, theirs = times[WARM_UP:].T
    return {
        "speedup": float(np.median(theirs / ours)),
        "ours_ms": float(np.median(ours)),
        "onnxruntime_ms": float(np.median(theirs)),
    }


def reference(options: NetworkOptions, model: ModelFile) -> Step:
    """onnxruntime with all optimisations, one thread."""
    data = prepare_model(REFERENCE, model, options)
    return load_engine(REFERENCE, data, model_name=model.name, feedback=options.feedback).step


def halved(options: NetworkOptions, model: ModelFile) -> Step:
    """The same with weights, not biases and statistics, rounded to half precision."""
    proto = onnx.load_model_from_string(prepare_model(REFERENCE, model, options))
    for tensor in tensors_of(proto):
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) > 1:
            rounded = numpy_helper.to_array(tensor).astype(np.float16).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(rounded, tensor.name))
    data = proto.SerializeToString()
    return load_engine(REFERENCE, data, model_name=model.name, feedback=options.feedback).step


def unoptimized(options: NetworkOptions, model: ModelFile) -> Step:
    """onnxruntime without its optimisations, which change what a quantized model computes."""
    data = prepare_model(REFERENCE, model, options)
    session = open_session(data, model_name=model.name, optimize=False)
    names = [output.name for output in session.get_outputs()]
    return lambda feeds: dict(zip(names, session.run(names, dict(feeds)), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name")
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--gigabytes", type=float, required=True)
    parser.add_argument("--time", action="store_true")
    options = parser.parse_args()
    limit = int(options.gigabytes * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    case = next(case for case in CASES if case.name == options.name)
    print(json.dumps(row(case, options.shared, options.cache, timed=options.time)))


if __name__ == "__main__":
    main()
