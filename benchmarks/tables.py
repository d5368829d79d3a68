"""A record as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any

from cells import DENSE, GATED, MOTION_GATED, OURS, PLANS, REFERENCE
from floors import INT8, cut_frame, floors, mean, new_frame, speedup

from mquans.files import atomic_write
from mquans_studies.cases.networks import DETECTORS, FIXED_CAMERAS
from mquans_studies.cases.record import Record

Data = Mapping[str, Any]


def report(record: Record, file: str | None) -> None:
    """Works out the floors into the record, writes all tables if a file is named, and prints how
    the floors stand."""
    record.data["floors"] = floors(record.data)
    record.save()
    if file is not None:
        atomic_write(file, markdown(record.data).encode())
    print(floors_table(record.data))


def markdown(data: Data) -> str:
    """All tables of a record."""
    parts = [
        ("Floors", floors_table(data)),
        ("Fixed cameras", means_table(data)),
        ("Speed", speed_table(data)),
        ("Fidelity", fidelity_table(data)),
        ("New frames", new_frames_table(data)),
        ("All engines", engines_table(data)),
        ("Plans", plans_table(data)),
        ("Start, first frame, memory", startup_table(data)),
        ("Many streams", streams_table(data)),
        ("What was measured", versions(data)),
    ]
    return _sections(data, parts)


def short(data: Data) -> str:
    """What a quick run tells."""
    parts = [
        ("Speed", speed_table(data)),
        ("Fidelity", fidelity_table(data)),
        ("Scene cuts", "" if not _with_cuts(data) else new_frames_table(data)),
        ("What was measured", versions(data)),
    ]
    return _sections(data, parts)


EXPLAINED = {
    "Fixed cameras": "Geometric means over fixed cameras of ratios of medians: how many times as "
    "fast as the other engine. dense: everything computed in every frame.",
    "Speed": "Medians in ms of one interleaved run. int8: the fastest static int8 engine. uniform, "
    "criticality, dense: ours with one width, with calibrated gates, with everything computed in "
    "every frame; a star: less faithful than the rule demands. active: share of the MACs of "
    "uniform, criticality, first frame left out. over X: times as fast, criticality, the last "
    "column everything computed; over gated: by means, criticality with a motion gate, whose mean "
    "is given. state: bytes of a stream over the float activations.",
    "Fidelity": "Against fp32: 95th percentile of the relative squared error of int8 (onnxruntime, "
    "QDQ), uniform, criticality, without and with a motion gate, and with everything computed; F1 "
    "of boxes at IoU 0.5, of as many objects.",
    "New frames": "Time over that of an fp32 frame, uniform and criticality: where every frame is "
    "from another scene, and of the frames at scene cuts.",
    "All engines": "Medians in ms; behind motion gates the mean, and the share of frames that the "
    "gated engine computes.",
    "Plans": "Chosen by fidelity on the measured frames: the fewest bits, the largest tolerance, "
    "the motion gate that leaves least to do.",
}


def _sections(data: Data, parts: Sequence[tuple[str, str]]) -> str:
    shown = []
    for title, text in parts:
        if text:
            about = f"{EXPLAINED[title]}\n\n" if title in EXPLAINED else ""
            shown.append(f"## {title}\n\n{about}{text}")
    return "\n\n".join(shown) + "\n"


def floors_table(data: Data) -> str:
    """The cases that the engine is held against."""
    rows = []
    for case in floors(data):
        row = [case["case"], f"{case['better']} {case['floor']:g}", f"{case['aim']:g}"]
        for kind in OURS:
            found = case[kind]
            part = "" if found["measured"] == found["needed"] else (
                f" ({found['measured']} of {found['needed']})"
            )  # fmt: skip
            mark = {True: " ✓", False: " ✗", None: ""}[found["met"]]
            row.append(_number(found["value"], case["unit"]) + mark + part)
        rows.append(row)
    return _table(["case", "floor", "aim", *OURS], rows)


def means_table(data: Data) -> str:
    """Geometric means over fixed cameras."""
    rows = []
    threads = sorted({cell["threads"] for cell in data["cells"].values()})
    for network, count in product(DETECTORS, threads):
        keys = [f"{network}/{clip}/{count}" for clip in FIXED_CAMERAS]
        cells = [data["cells"][key] for key in keys if key in data["cells"]]
        if not cells:
            continue
        means = [
            mean(speedup(cell, ours, others) for cell in cells)[0]
            for ours in (*OURS.values(), DENSE)
            for others in ([REFERENCE], INT8)
        ]
        rows.append([network, str(count), str(len(cells)), *(_number(m, "x") for m in means)])
    columns = ["network", "threads", "clips"]
    for ours in ("uniform", "criticality", "dense"):
        columns += [f"{ours} over fp32", "over int8"]
    return _table(columns, rows)


def speed_table(data: Data) -> str:
    """Times of ours, fp32 and int8, and speed-ups."""
    rows = []
    for key, cell in sorted(data["cells"].items()):
        engines = cell["engines"]
        best = OURS["criticality"] if OURS["criticality"] in engines else OURS["uniform"]
        int8 = min(
            (name for name in INT8 if name in engines),
            key=lambda name: engines[name]["time_ms"]["median"],
            default="",
        )
        gated = MOTION_GATED if MOTION_GATED in engines else best
        ours = [engines[name] for name in OURS.values() if name in engines]
        rows.append(
            [
                key,
                *(_time(engines.get(name)) for name in (REFERENCE, int8)),
                *(_ours(engines.get(name)) for name in OURS.values()),
                _time(engines.get(DENSE)),
                _ours(engines.get(MOTION_GATED), "mean"),
                ", ".join(f"{100 * mine['macs_fraction']:.1f} %" for mine in ours),
                *(_number(speedup(cell, best, others), "x") for others in ([REFERENCE], INT8)),
                _number(speedup(cell, gated, [GATED]), "x"),
                _number(speedup(cell, DENSE, [REFERENCE]), "x"),
                f"{max(mine['state_ratio'] for mine in ours):.2f}",
            ]
        )
    columns = ["network/clip/threads", "fp32", "int8", "uniform", "criticality", "dense"]
    columns += [
        "motion gate",
        "active",
        "over fp32",
        "over int8",
        "over gated",
        "dense over fp32",
        "state",
    ]
    return _table(columns, rows)


def fidelity_table(data: Data) -> str:
    """Against fp32, on one thread: threads change nothing that matters here."""
    names = ("ort-int8", *PLANS.values(), DENSE)
    rows = []
    for _, cell in sorted(data["cells"].items()):
        if cell["threads"] != 1:
            continue
        found = [cell["engines"].get(name) for name in names]
        objects = max((engine["objects"] for engine in found if engine), default=0)
        rows.append(
            [
                f"{cell['network']}/{cell['clip']}",
                *("" if engine is None else f"{engine['rel_sq_p95']:.2g}" for engine in found),
                *("" if e is None or e["f1"] is None else f"{e['f1']:.3f}" for e in found),
                str(objects or ""),
            ]
        )
    engines = ("int8", *PLANS, "dense")
    return _table(["network/clip", *engines, *(f"F1 {name}" for name in engines), "objects"], rows)


def new_frames_table(data: Data) -> str:
    """Where nothing of the last frame can be used."""
    rows = []
    threads = sorted({cell["threads"] for cell in data["cells"].values()})
    for network, count in product((*DETECTORS, "pilotnet"), threads):
        found = [
            ratio(data["cells"].get(f"{network}/{clip}/{count}"), ours)
            for clip, ratio in (("shuffled", new_frame), ("cuts", cut_frame))
            for ours in OURS.values()
        ]
        if any(value is not None for value in found):
            rows.append([network, str(count), *(_number(value, "x") for value in found)])
    columns = [f"{case}, {kind}" for case in ("shuffled", "scene cut") for kind in OURS]
    return _table(["network", "threads", *columns], rows)


def _with_cuts(data: Data) -> bool:
    return any(cell["clip"] == "cuts" for cell in data["cells"].values())


def engines_table(data: Data) -> str:
    """Every engine's time."""
    cells = sorted(data["cells"].items())
    names = list(dict.fromkeys(name for _, cell in cells for name in cell["engines"]))
    rows = []
    for key, cell in cells:
        times = []
        for name in names:
            engine = cell["engines"].get(name)
            time = _time(engine, "mean" if name in (GATED, MOTION_GATED) else "median")
            if engine and "computed_frames" in engine:
                time += f" ({100 * engine['computed_frames']:.0f} %)"
            times.append(time)
        rows.append([key, *times])
    return _table(["network/clip/threads", *names], rows)


def plans_table(data: Data) -> str:
    """How plans were chosen."""
    rows = []
    for key, kinds in sorted(data["plans"].items()):
        for kind in (kind for kind in PLANS if kind in kinds):
            plan = kinds[kind]
            rows.append(
                [
                    key,
                    kind,
                    f"{plan['bits']} bits" if kind == "uniform" else f"{plan['tolerance']:.3g}",
                    f"{100 * plan['macs_fraction']:.1f} %",
                    f"{plan['rel_sq_p95']:.2g}",
                    _number(plan["int8_rel_sq_p95"]),
                    "" if plan["f1"] is None else f"{plan['f1']:.3f} of {plan['objects']}",
                    "yes" if plan["keeps_rule"] else "no",
                    f"{plan['calibration_seconds']:.0f}",
                ]
            )
    columns = ["network/clip", "plan", "bits, tolerance", "active", "rel_sq p95", "of int8", "F1"]
    return _table([*columns, "keeps the rule", "calibrated in s"], rows)


def startup_table(data: Data) -> str:
    """Session start, first frame, memory."""
    rows = [
        [
            key,
            f"{found['start_ms']:.0f}",
            f"{found['first_ms']:.1f}",
            f"{found['rss_bytes'] / 2**20:.0f}",
        ]
        for key, found in sorted(data["startup"].items())
    ]
    return _table(["network/engine", "start ms", "first frame ms", "memory MiB"], rows)


def streams_table(data: Data) -> str:
    """Frames per second of many streams."""
    rows = [
        [
            key,
            name,
            f"{engine['frames_per_second']:.0f}",
            f"{engine['per_core']:.0f}",
            f"{engine['frames_per_second'] / engine['alone']:.2f}x",
        ]
        for key, found in sorted(data["streams"].items())
        for name, engine in found["engines"].items()
    ]
    columns = ["network/streams/cores", "engine", "frames/s", "per core"]
    return _table([*columns, "over one stream alone"], rows)


def versions(data: Data) -> str:
    """Machine, and engines with their options."""
    machine = data.get("machine")
    if machine is None:
        return ""
    packages = ", ".join(f"{name} {v}" for name, v in machine["versions"].items() if v)
    lines = [f"- {machine['cpu']}, {machine['threads']} cores, {machine['isa']}; {packages}"]
    described = {
        f"{name}: {found['description']}"
        for cell in data["cells"].values()
        if cell["threads"] == 1
        for name, found in cell["engines"].items()
        if name not in (GATED, DENSE)
    }
    refused = {
        f"{name}: not measured, {reason}"
        for cell in data["cells"].values()
        for name, reason in cell["unavailable"].items()
    }
    return "\n".join([*lines, *(f"- {line}" for line in sorted(described | refused))])


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    if not lines:
        return ""
    head = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    return "\n".join([*head, *lines])


def _ours(engine: Data | None, kind: str = "median") -> str:
    return "" if engine is None else _time(engine, kind) + ("" if engine["keeps_rule"] else "*")


def _number(value: float | None, unit: str = "") -> str:
    return "" if value is None else f"{value:.3g}{unit}"


def _time(engine: Data | None, kind: str = "median") -> str:
    if engine is None or kind not in engine["time_ms"]:
        return ""
    return f"{engine['time_ms'][kind]:.2f}"
