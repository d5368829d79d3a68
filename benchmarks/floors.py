"""The cases that the engine is held against, worked out from a record.

A speed-up is a ratio of medians in one run; of the motion gate, of means. `int8` is the fastest of
onnxruntime (QDQ or integer operators) and OpenVINO. A case is met when it was measured whole and
reaches its floor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from cells import ALONE, DENSE, GATED, MOTION_GATED, OURS, REFERENCE

from mquans_studies.cases.networks import DETECTORS, FIXED_CAMERAS

INT8 = ("ort-int8", "ort-int8-qoperator", "openvino-int8")
MOST_FRAMES = 0.5
"""Something moves in most frames of a clip above this share."""

Data = Mapping[str, Any]
Value = tuple[float | None, int, int]
"""(value over what was measured, number of measurements, number needed)."""


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the table.

    Attributes:
        at_most: True when smaller is better.
        value: from the record's data and the name of one of our engines.
    """

    name: str
    floor: float
    aim: float
    value: Callable[[Data, str], Value]
    at_most: bool = False
    unit: str = "x"

    def result(self, data: Data) -> dict[str, Any]:
        """Plain data; `met` is None until everything was measured."""
        found: dict[str, Any] = {"case": self.name, "floor": self.floor, "aim": self.aim}
        found["unit"] = self.unit
        found["better"] = "at most" if self.at_most else "at least"
        for kind, ours in OURS.items():
            value, measured, needed = self.value(data, ours)
            met = None
            if value is not None and measured == needed:
                met = value <= self.floor if self.at_most else value >= self.floor
            found[kind] = {"value": value, "measured": measured, "needed": needed, "met": met}
        return found


def floors(data: Data) -> list[dict[str, Any]]:
    """All cases over a record."""
    return [case.result(data) for case in CASES]


def speedup(cell: Data | None, ours: str, others: Iterable[str]) -> float | None:
    """Of one of our engines over the fastest of others; None where it was not measured."""
    if cell is None or ours not in cell["speedup"]:
        return None
    found = [cell["speedup"][ours][name] for name in others if name in cell["speedup"][ours]]
    return min(found) if found else None


def _cell(data: Data, network: str, clip: str, threads: int = 1) -> Data | None:
    found: Data | None = data["cells"].get(f"{network}/{clip}/{threads}")
    return found


def mean(values: Iterable[float | None]) -> Value:
    """Geometric mean of what is known."""
    every = list(values)
    known = [value for value in every if value is not None]
    mean = float(np.exp(np.mean(np.log(known)))) if known else None
    return mean, len(known), len(every)


def _worst(values: Iterable[float | None]) -> Value:
    """The largest."""
    every = list(values)
    known = [value for value in every if value is not None]
    return max(known, default=None), len(known), len(every)


def _fixed(networks: tuple[str, ...], *others: str) -> Callable[[Data, str], Value]:
    """Networks on the fixed cameras against the fastest of other engines."""
    return lambda data, ours: mean(_pairs(data, ours, networks, others))


def _slowest(data: Data, ours: str) -> Value:
    speedups = list(_pairs(data, ours, DETECTORS, [REFERENCE]))
    known = [value for value in speedups if value is not None]
    return min(known, default=None), len(known), len(speedups)


def _pairs(
    data: Data, ours: str, networks: Iterable[str], others: Sequence[str]
) -> Iterator[float | None]:
    """Speed-ups of networks on the fixed cameras."""
    for network in networks:
        for clip in FIXED_CAMERAS:
            yield speedup(_cell(data, network, clip), ours, others)


def _moving(data: Data, ours: str) -> Value:
    return mean(_against_gate(data, ours))


def _against_gate(data: Data, ours: str) -> Iterator[float | None]:
    """By criticality with a motion gate of our own."""
    ours = MOTION_GATED if ours == OURS["criticality"] else ours
    for network in DETECTORS:
        for clip in FIXED_CAMERAS:
            cell = _cell(data, network, clip)
            if cell is None or cell["moving_frames"] > MOST_FRAMES:
                yield speedup(cell, ours, [GATED])


def _one(network: str, clip: str) -> Callable[[Data, str], Value]:
    return lambda data, ours: mean([speedup(_cell(data, network, clip), ours, [REFERENCE])])


def new_frame(cell: Data | None, ours: str) -> float | None:
    """Time over that of an fp32 frame."""
    value = speedup(cell, ours, [REFERENCE])
    return None if value is None else 1 / value


def cut_frame(cell: Data | None, ours: str) -> float | None:
    """The same of frames at scene cuts."""
    if cell is None or ours not in cell["engines"]:
        return None
    times = {name: cell["engines"][name]["time_ms"] for name in (ours, REFERENCE)}
    return float(times[ours]["cut"] / times[REFERENCE]["median"])


def _new_frames(data: Data, ours: str) -> Value:
    networks = (*DETECTORS, "pilotnet")
    return _worst(new_frame(_cell(data, name, "shuffled"), ours) for name in networks)


def _cut(data: Data, ours: str) -> Value:
    return _worst(cut_frame(_cell(data, name, "cuts"), ours) for name in (*DETECTORS, "pilotnet"))


def _dense_error(data: Data, ours: str) -> Value:
    return _worst(
        cell["engines"][DENSE]["rel_sq_p95"] if DENSE in cell["engines"] else None
        for cell in data["cells"].values()
    )


def _two_threads(data: Data, ours: str) -> Value:
    cell = _cell(data, "centerface-640", "vtest", 2)
    if cell is None or ours != OURS["uniform"]:
        return None, 0, 1
    engines = cell["engines"]
    return engines[ALONE]["time_ms"]["median"] / engines[ours]["time_ms"]["median"], 1, 1


def _streams(data: Data, ours: str) -> Value:
    """Frames per second against the best of onnxruntime."""

    def ratio(network: str) -> float | None:
        found = data["streams"].get(f"{network}/8/2")
        if found is None or ours not in found["engines"]:
            return None
        rates = {name: e["frames_per_second"] for name, e in found["engines"].items()}
        return float(rates[ours] / max(r for n, r in rates.items() if n.startswith("ort-")))

    return mean(ratio(network) for network in DETECTORS)


def _memory(data: Data, ours: str) -> Value:
    return _worst(
        None if ours not in cell["engines"] else cell["engines"][ours]["state_ratio"]
        for cell in data["cells"].values()
    )


SMALL = ("yunet", "fastestdet", "yolox")

CASES = (
    Case("YOLOv8n, fixed cameras, over fp32", 3.5, 8, _fixed(("yolov8n",), REFERENCE)),
    Case("YOLOv8n, fixed cameras, over int8", 2.5, 5, _fixed(("yolov8n",), *INT8)),
    Case("CenterFace, fixed cameras, over fp32", 3.5, 8, _fixed(("centerface",), REFERENCE)),
    Case("CenterFace, fixed cameras, over int8", 2.5, 5, _fixed(("centerface",), *INT8)),
    Case("YuNet, FastestDet and YOLOX-nano, over fp32", 2.5, 6, _fixed(SMALL, REFERENCE)),
    Case("YuNet, FastestDet and YOLOX-nano, over int8", 2.2, 5, _fixed(SMALL, *INT8)),
    Case("the slowest of these pairs, over fp32", 1.3, 2, _slowest),
    Case("where something moves in most frames, over gated", 2.5, 6, _moving),
    Case("CenterFace, still camera, over fp32", 40, 80, _one("centerface", "still")),
    Case("YOLOv8n, still camera, over fp32", 40, 80, _one("yolov8n", "still")),
    Case("PilotNet, driving, over fp32", 1.6, 2.5, _one("pilotnet", "driving")),
    Case("every frame new, slowest network, time / fp32", 0.77, 0.56, _new_frames, at_most=True),
    Case("scene cut, slowest network, time / fp32", 0.9, 0.6, _cut, at_most=True),
    Case("two threads over one, CenterFace 640x640", 1.7, 1.9, _two_threads),
    Case("8 streams on 2 cores, over the best of onnxruntime", 2.5, 6, _streams),
    Case("state of a stream / float activations, largest", 0.7, 0.5, _memory, at_most=True),
    Case(
        "everything computed, largest relative squared error",
        5e-4, 1e-4, _dense_error, at_most=True, unit="",
    ),
)  # fmt: skip
