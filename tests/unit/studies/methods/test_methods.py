"""Methods are compared fairly: at equal loss, on measured points, nothing extrapolated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import mquans
from mquans.onnx import import_model, read_model


def test_work_at_a_loss_lies_between_measured_points() -> None:
    """Linear over the logarithm of the loss; a point that another beats in both does not count, and
    one that does nothing makes none of the others cheaper."""
    from mquans_studies.methods.operating_points import Point, work_at

    points = [Point(0.4, 0.001), Point(0.1, 0.1), Point(0.3, 0.5)]
    assert work_at(points, 0.01) == pytest.approx(0.25)
    assert work_at(points, 0.1) == pytest.approx(0.1)
    assert work_at(points, 0.001) == pytest.approx(0.4)
    frozen = Point(0.0, 1.0)
    assert work_at([Point(0.2, 0.01), frozen], 0.1) == pytest.approx(0.1)


def test_nothing_is_extrapolated() -> None:
    """A method that never kept a loss has no work at it; one that always did gets its cheapest."""
    from mquans_studies.methods.operating_points import Point, geometric_mean, work_at

    points = [Point(0.4, 0.001), Point(0.1, 0.1)]
    assert work_at(points, 0.0001) is None
    assert work_at(points, 1.0) == 0.1
    assert work_at([], 1.0) is None
    assert geometric_mean([2.0, 8.0]) == pytest.approx(4.0)
    assert geometric_mean([]) is None


def points(*pairs: tuple[float, float]) -> list[dict[str, Any]]:
    return [
        {
            "changed_fraction": work,
            "agreement": {"rel_sq_p95": loss},
            "f1": None,
        }
        for work, loss in pairs
    ]


def test_methods_are_compared_where_both_have_a_plan() -> None:
    """The best of several baselines counts, cell by cell and loss by loss."""
    from mquans_studies.methods.method_tables import FULL, compared

    (frozen,) = points((0.0, 1.0))
    cells = {
        "a": {
            "frozen": frozen,
            "points": {
                "slow": points((0.8, 0.0001)),
                "slower": points((0.9, 0.0001)),
                FULL: points((0.2, 0.0001)),
            },
        },
        "quiet": {
            "frozen": points((0.0, 0.0))[0],
            "points": {"slow": points((0.8, 0.0001)), FULL: points((0.2, 0.0001))},
        },
        "b": {
            "frozen": frozen,
            "points": {"slow": points((0.8, 0.5)), FULL: points((0.2, 0.0001))},
        },
    }
    ratios = compared(cells, ("slow", "slower"), "relative squared error")
    assert ratios == pytest.approx([4.0] * 3)


def test_every_variant_gives_plans_that_run(
    small_model: Path, small_frames: npt.NDArray[np.float32]
) -> None:
    from mquans.calibration import Segment
    from mquans_studies.methods.method_tables import ABLATION, FLOORS, markdown
    from mquans_studies.methods.variants import VARIANTS, Calibration

    model = read_model(small_model)
    feeds = [{"x": frame[None]} for frame in small_frames]
    tuned = Segment(feeds[14:], [None] * 6)

    def first_value(outputs: Any) -> dict[str, npt.NDArray[np.float64]]:
        name = next(iter(outputs))
        return {name: np.eye(1, outputs[name].size).reshape(outputs[name].shape)}

    calibration = Calibration(model, import_model(model), [feeds[:14]], tuned, first_value)
    found: dict[str, list[dict[str, Any]]] = {}
    for variant in VARIANTS:
        plans = [plan for _, plan in calibration.plans(variant)]
        assert {plan.rule for plan in plans} == {variant.rule}
        assert {layer.weight_bits for layer in plans[0].layers} == {variant.weight_bits}
        mquans.Session(model, plans[0]).stream().step(feeds[0])
        found[variant.name] = points((0.5, 0.001))
    names = {variant.name for variant in VARIANTS}
    assert {name for _, name in ABLATION} <= names
    assert {name for _, baselines, _, _ in FLOORS for name in baselines} <= names
    cell = {
        "points": found,
        "seconds": calibration.seconds,
        "frozen": points((0.0, 1.0))[0],
    }
    budget = {"budget": 0.05, "losses": [0.01, 0.06], "seconds": 2.0}
    text = markdown({"methods": {"net/clip": cell}, "budgets": {"net/clip": budget}})
    assert "Kept on 1 of 2 segments." in text
    assert "1.00x of 3" in text
