"""Wrong here, and the README claims a speed that was not measured."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import cell, data

FIXED = ("vtest", "bottle", "asl-book", "asl-learn", "asl-thanks")


def case(record: dict[str, Any], start: str) -> dict[str, Any]:
    from floors import floors

    [found] = [case for case in floors(record) if case["case"].startswith(start)]
    return found


def test_int8_is_the_fastest_of_all_that_run() -> None:
    """A slow rival among several may not be picked."""
    cells = [
        cell("yolov8n", clip, 1, 2.0, ort_fp32=20.0, ort_int8=12.0, openvino_int8=8.0)
        for clip in FIXED
    ]
    fp32 = case(data(*cells), "YOLOv8n, fixed cameras, over fp32")["uniform"]
    assert fp32 == {"value": pytest.approx(10.0), "measured": 5, "needed": 5, "met": True}
    int8 = case(data(*cells), "YOLOv8n, fixed cameras, over int8")["uniform"]
    assert int8["value"] == pytest.approx(4.0)


def test_part_of_a_case_meets_nothing() -> None:
    """The clips where reuse pays most could be measured first."""
    found = case(
        data(cell("yolov8n", "bottle", 1, 1.0, ort_fp32=20.0)), "YOLOv8n, fixed cameras, over fp32"
    )
    assert found["uniform"] == {
        "value": pytest.approx(20.0), "measured": 1, "needed": 5, "met": None,
    }  # fmt: skip
    assert found["criticality"]["value"] is None


def test_means_are_geometric() -> None:
    cells = [
        cell("centerface", clip, 1, 1.0, ort_fp32=speed)
        for clip, speed in zip(FIXED, (1.0, 2.0, 4.0, 8.0, 16.0), strict=True)
    ]
    found = case(data(*cells), "CenterFace, fixed cameras, over fp32")
    assert found["uniform"]["value"] == pytest.approx(4.0)


def test_slower_than_dense_is_judged_by_the_slowest_network() -> None:
    cells = [
        cell(network, "shuffled", 1, ours, ort_fp32=10.0)
        for network, ours in zip(
            ("yolov8n", "centerface", "yunet", "fastestdet", "yolox", "pilotnet"),
            (5.0, 5.0, 5.0, 5.0, 5.0, 12.0),
            strict=True,
        )
    ]
    found = case(data(*cells), "every frame new")
    assert found["better"] == "at most"
    assert found["uniform"]["value"] == pytest.approx(1.2)
    assert found["uniform"]["met"] is False


def test_quiet_clips_do_not_count_against_the_gate() -> None:
    """There the gate computes nothing and wins whatever the engine does."""
    quiet = cell("yunet", "bottle", 1, 2.0, ort_fp32=4.0, gated=1.0)
    quiet["moving_frames"] = 0.2
    moving = cell("yunet", "vtest", 1, 2.0, ort_fp32=4.0, gated=6.0)
    found = case(data(quiet, moving), "where something moves")["uniform"]
    assert found["value"] == pytest.approx(3.0)
    assert found["measured"] == 1


def test_cut_is_held_against_a_usual_frame_of_fp32() -> None:
    """A cut costs fp32 no more than any frame."""
    cells = []
    for network in ("yolov8n", "centerface", "yunet", "fastestdet", "yolox", "pilotnet"):
        cells.append(cell(network, "cuts", 1, 2.0, ort_fp32=10.0))
        cells[-1]["engines"]["mquans"]["time_ms"]["cut"] = 7.0
    found = case(data(*cells), "scene cut")["uniform"]
    assert (found["value"], found["met"]) == (pytest.approx(0.7), True)


def test_streams_are_held_against_the_best_of_onnxruntime() -> None:
    record = data()
    rates = {"mquans": 300.0, "ort-fp32": 100.0, "ort-int8": 150.0}
    engines = {name: {"frames_per_second": rate} for name, rate in rates.items()}
    record["streams"]["yunet/8/2"] = {"engines": engines}
    assert case(record, "8 streams")["uniform"]["value"] == pytest.approx(2.0)
