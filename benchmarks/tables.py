"""A record as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cells import ALONE, GATED, OURS, REFERENCE
from floors import INT8, floors, speedup
from record import Record

from mquans.files import atomic_write

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
        ("Engines", engines_table(data)),
        ("Fidelity", fidelity_table(data)),
        ("Plans", plans_table(data)),
        ("Start, first frame, memory", startup_table(data)),
        ("Many streams", streams_table(data)),
        ("What was measured", versions(data)),
    ]
    return "\n\n".join(f"## {title}\n\n{text}" for title, text in parts if text) + "\n"


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
            row.append(_number(found["value"], "x") + mark + part)
        rows.append(row)
    return _table(["case", "floor", "aim", *OURS], rows)


def engines_table(data: Data) -> str:
    """Times: medians in ms, and speed-ups over dense engines."""
    rows = []
    for key, cell in sorted(data["cells"].items()):
        engines = cell["engines"]
        for ours in (name for name in OURS.values() if name in engines):
            int8 = min(
                (name for name in INT8 if name in engines),
                key=lambda name: engines[name]["time_ms"]["median"],
                default=None,
            )
            mine = engines[ours]
            rows.append(
                [
                    key,
                    ours if mine["keeps_rule"] else f"{ours} (rule not kept)",
                    f"{100 * mine['macs_fraction']:.1f} %",
                    *(_time(engines.get(name)) for name in (ours, REFERENCE)),
                    f"{_time(engines[int8])} {int8}" if int8 else "",
                    *(_time(engines.get(f"openvino-{p}")) for p in ("fp32", "bf16")),
                    _time(engines.get(GATED), "mean"),
                    _number(speedup(cell, ours, [REFERENCE]), "x"),
                    _number(speedup(cell, ours, INT8), "x"),
                    _number(speedup(cell, ours, [GATED]), "x"),
                    f"{mine['time_ms']['p95']:.2f}",
                    f"{mine['time_ms']['first']:.1f}",
                    _time(mine, "cut"),
                ]
            )
    columns = ["cell", "engine", "MACs left", "ours ms", "fp32 ms", "best int8 ms"]
    columns += ["OpenVINO fp32", "OpenVINO bf16", "gated (mean)", "over fp32", "over int8"]
    return _table([*columns, "over gated", "p95", "first frame", "scene cut"], rows)


def fidelity_table(data: Data) -> str:
    """Every engine against fp32, on one thread (threads change nothing that matters here)."""
    rows = [
        [
            f"{cell['network']}/{cell['clip']}",
            name,
            f"{found['rel_sq_mean']:.2g}",
            f"{found['rel_sq_p95']:.2g}",
            "" if found["unexplained"] is None else f"{found['unexplained']:.2g}",
            f"{found['loss_p95']:.2g}",
            "" if found["f1"] is None else f"{found['f1']:.3f}",
            "" if "computed_frames" not in found else f"{100 * found['computed_frames']:.0f} %",
        ]
        for _, cell in sorted(data["cells"].items())
        if cell["threads"] == 1
        for name, found in cell["engines"].items()
        if name not in (REFERENCE, ALONE)
    ]
    columns = ["network/clip", "engine", "rel_sq", "rel_sq p95", "unexplained", "loss p95", "F1"]
    return _table([*columns, "frames computed"], rows)


def plans_table(data: Data) -> str:
    """How plans were chosen."""
    rows = []
    for key, kinds in sorted(data["plans"].items()):
        for kind in (kind for kind in OURS if kind in kinds):
            plan = kinds[kind]
            how = (
                f"{plan['bits']} bits"
                if kind == "uniform"
                else f"budget {plan['budget']:.2g}, {plan['objective']}"
            )
            rows.append(
                [
                    key,
                    kind,
                    how if plan.get("budget_kept", True) else f"{how} not kept",
                    f"{100 * plan['macs_fraction']:.1f} %",
                    f"{plan['rel_sq_p95']:.2g}",
                    _number(plan["int8_rel_sq_p95"]),
                    "" if plan["f1"] is None else f"{plan['f1']:.3f} of {plan['objects']}",
                    "yes" if plan["keeps_rule"] else "no",
                    f"{plan['calibration_seconds']:.0f}",
                ]
            )
    columns = ["network/clip", "plan", "", "MACs left", "rel_sq p95", "of int8", "F1"]
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
        if name != GATED
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


def _number(value: float | None, unit: str = "") -> str:
    return "" if value is None else f"{value:.3g}{unit}"


def _time(engine: Data | None, kind: str = "median") -> str:
    if engine is None or kind not in engine["time_ms"]:
        return ""
    return f"{engine['time_ms'][kind]:.2f}"
