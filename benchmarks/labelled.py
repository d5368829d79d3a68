"""YOLOX-nano finding persons before a fixed camera: what every engine finds, and how fast.

    python benchmarks/labelled.py --plan yolox.plan.json --plan other.plan.json --json labelled.json

Plans for it are made from the same frames that int8 engines learn their ranges from:

    mquans calibrate yolox_nano.onnx --source vtest.avi --frames 80 --color bgr \\
        --resize letterbox --anchor top_left --max-loss 0.05 --metric yolox_f1 -o yolox.plan.json

Columns: average precision at IoU 0.5 of persons against the labels, by pycocotools; F1 of all boxes
against fp32; share of the MACs that is done; median milliseconds per frame, of plans with a motion
gate the mean; times as fast as onnxruntime fp32. For time the engines take turns of 20 frames, so
that each finds its own weights in the caches, as a process does that runs one network; the record
also holds the times of a run in which they alternate frame by frame. Plans begin with the first
judged frame, which they compute whole; it is compared but not counted as work.

Needs the folder of models and clips (`--shared`) and the package pycocotools; what else is missing,
such as openvino, is left out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec.structs import replace

import mquans
from mquans.baselines import ENGINES, open_engine
from mquans.errors import MquansError, SourceError
from mquans.evaluate import Work, interleave, speedups
from mquans.evaluate.interleave import Outputs, Step, summary, take_turns
from mquans.metrics import average_precision, load_labels, place_label
from mquans.metrics.detection import labelled_boxes
from mquans.metrics.detections import Boxes
from mquans.metrics.precision import require_pycocotools
from mquans.metrics.ready import COCO_PERSON, decode_yolox_doubtful
from mquans.onnx import ModelFile
from mquans.plan import NetworkOptions, read_plan
from mquans.sources import open_source
from mquans.sources.frames import Feeds
from mquans_studies.cases.fidelity import Detections
from mquans_studies.cases.networks import NETWORKS, SHARED, VIDEOS, AsPixels
from mquans_studies.cases.record import Record
from mquans_studies.cases.segments import Segment

NETWORK, CLIP = "yolox", "vtest"
LABELS = "data/labels/vtest_persons.csv"
REFERENCE = "ort-fp32"
INT8 = ("ort-int8", "openvino-int8")
TURN = 20
"""Frames that an engine runs in a row while it is timed."""

TARGET = NETWORKS[NETWORK]


@dataclass(slots=True)
class Finds:
    """What one engine finds, frame by frame."""

    persons: list[Boxes] = field(default_factory=list)
    against_dense: Detections = field(default_factory=lambda: Detections(TARGET.decode))

    def add(self, dense: Outputs, outputs: Outputs) -> None:
        """One frame."""
        boxes = decode_yolox_doubtful(outputs)
        self.persons.append(boxes[boxes[:, 5] == COCO_PERSON])
        self.against_dense.add(dense, outputs)


def load(frames: range, shared: Path) -> tuple[list[Feeds], list[Boxes]]:
    """(frames as the network takes them, persons in them in pixels of its input).

    Raises:
        SourceError: clip or labels are not there, or not for so many frames.
    """
    labels = load_labels(shared / LABELS)
    if frames.stop > len(labels):
        raise SourceError(f"there are labels for {len(labels)} frames only.", hint="Fewer --frames")
    feeds, wanted = [], []
    with open_source(
        shared / "data" / VIDEOS[CLIP], TARGET.format, skip=frames.start, frames=len(frames)
    ) as source:
        for number, frame in zip(frames, source, strict=False):
            feeds.append({TARGET.input: frame})
            wanted.append(labelled_boxes(place_label(labels[number], source)))
    return feeds, wanted


def open_sessions(
    files: Iterable[Path], model: ModelFile, *, threads: int
) -> dict[str, mquans.Session]:
    """A session for every plan, by the plan's file.

    Raises:
        MquansError: a plan is for another network, or prepares pictures in another way.
    """
    sessions = {}
    for file in files:
        plan = read_plan(file)
        if plan.preparation not in (None, TARGET.format):
            raise MquansError(
                "the plan prepares pictures otherwise than they were labelled for.",
                where=str(file),
                hint="Calibrate with --color bgr --resize letterbox --anchor top_left.",
            )
        name = file.name.removesuffix(".json").removesuffix(".plan")
        name = str(file) if name in sessions else name
        plan = replace(plan, input=TARGET.format)
        sessions[name] = mquans.Session(model, plan, threads=threads)
    return sessions


def measure(
    engines: Mapping[str, Step],
    sessions: Mapping[str, mquans.Session],
    frames: Sequence[Feeds],
    wanted: Sequence[Boxes],
    *,
    threads: int,
) -> dict[str, dict[str, Any]]:
    """A row for every engine and plan, as plain data."""
    streams = {name: session.stream() for name, session in sessions.items()}
    steps = {**engines, **{name: stream.step for name, stream in streams.items()}}
    finds = {name: Finds() for name in steps}
    works = {name: Work() for name in streams}
    done = 0

    def watch(outputs: dict[str, Outputs]) -> None:
        nonlocal done
        for name, found in finds.items():
            found.add(outputs[REFERENCE], outputs[name])
        if done:
            for name, stream in streams.items():
                works[name].add(stream.stats)
        done += 1

    handed = AsPixels(NETWORK, frames, list(streams))
    run = interleave(
        steps, frames, reference=REFERENCE, on_frame=watch, threads=threads, handed=handed
    )
    for stream in streams.values():
        stream.reset()
    times = take_turns(steps, frames, turn=TURN, threads=threads, handed=handed)
    time_ms = {name: summary(each) for name, each in times.items()}
    gated = {name for name, session in sessions.items() if session.plan.motion_gate}
    return {
        name: {
            "ap50": average_precision(wanted, found.persons),
            "f1": found.against_dense.f1,
            "objects": found.against_dense.objects,
            "macs_fraction": works[name].macs_fraction if name in works else None,
            "time_ms": time_ms[name],
            "time_ms_alternating": run.time_ms[name],
            "motion_gate": name in gated,
            "speedup": speedups(time_ms, name, motion_gate=name in gated).get(REFERENCE, 1.0),
            "agreement": run.agreement[name].as_dict() if name in run.agreement else None,
        }
        for name, found in finds.items()
    }


def table(rows: Mapping[str, Mapping[str, Any]]) -> str:
    """Rows for people."""
    lines = [
        "| engine | AP50 | F1 against fp32 | MACs done | ms | against fp32 |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, row in rows.items():
        cells = (
            name,
            _shown(row["ap50"], ".3f"),
            _shown(row["f1"], ".3f"),
            _shown(row["macs_fraction"], ".1%"),
            f"{row['time_ms']['mean' if row['motion_gate'] else 'median']:.2f}",
            f"{row['speedup']:.2f}x",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def span(text: str) -> range:
    """Frames A up to, but without, B, written A:B."""
    start, colon, stop = text.partition(":")
    if not (colon and start.isdecimal() and stop.isdecimal() and int(start) < int(stop)):
        raise argparse.ArgumentTypeError(f"{text!r} is no part of a clip; write it like 81:400")
    return range(int(start), int(stop))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--plan", type=Path, action="append", default=[], help="may be repeated")
    parser.add_argument(
        "--engines",
        type=lambda text: [name for name in text.split(",") if name],
        default=list(INT8),
        help=f"beside {REFERENCE}; default {','.join(INT8)}",
    )
    parser.add_argument(
        "--frames", type=span, default=span("81:400"), metavar="A:B", help="judged, without B"
    )
    parser.add_argument(
        "--calibration",
        type=span,
        default=span("0:81"),
        metavar="A:B",
        help="frames that int8 engines learn from, without B",
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="record; merged into if it exists")
    parser.add_argument("--shared", type=Path, default=SHARED, help="folder of models and data")
    return parser.parse_args()


def main() -> int:
    arguments = parse()
    require_pycocotools()
    threads, calibrated = arguments.threads, arguments.calibration
    model = TARGET.model(arguments.shared)
    sessions = open_sessions(arguments.plan, model, threads=threads)
    learned = Segment(CLIP, calibrated.start, len(calibrated)).load(NETWORK, arguments.shared)
    engines: dict[str, Step] = {}
    unavailable: dict[str, str] = {}
    for name in dict.fromkeys((REFERENCE, *arguments.engines)):
        try:
            engine = open_engine(
                name, model, NetworkOptions(TARGET.shapes), threads=threads, calibration=learned
            )
            engines[name] = engine.step
        except MquansError as error:
            if name not in ENGINES or name == REFERENCE:
                raise
            unavailable[name] = str(error)
            print(f"{name} is left out: {error}", flush=True)
    frames, wanted = load(arguments.frames, arguments.shared)
    rows = measure(engines, sessions, frames, wanted, threads=threads)
    print(table(rows))
    if arguments.json:
        found = {
            "frames": [arguments.frames.start, arguments.frames.stop],
            "calibration_frames": [calibrated.start, calibrated.stop],
            "threads": threads,
            "persons": sum(map(len, wanted)),
            "engines": rows,
            "unavailable": unavailable,
        }
        Record(arguments.json).put("labelled", f"{NETWORK}/{CLIP}/{threads}", found)
    return 0


def _shown(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MquansError as error:
        sys.exit(f"error: {error}")
