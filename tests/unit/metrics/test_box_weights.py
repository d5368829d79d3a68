"""Weights of raw outputs say how far an error there moves what the decoder finds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from mquans.metrics import DECODERS, READY
from mquans.metrics.box_weights import BOX_ERROR, SCORE_ERROR, WEIGHTS

Outputs = dict[str, npt.NDArray[np.float32]]
STEP = 1e-2


def one_object(network: str, score: float) -> Outputs:
    """Raw outputs that show one object, in one cell, with that score; elsewhere next to nothing."""
    rng = np.random.default_rng(0)
    shapes = {
        "centerface": {"heat": (1, 1, 8, 8), "size": (1, 2, 8, 8), "offset": (1, 2, 8, 8)},
        "fastestdet": {"out": (1, 8, 6, 6)},
        "yolov8": {"out": (1, 6, 20)},
        "yolox": {"out": (1, 84, 8)},
        "yunet": {
            f"{kind}_{stride}": (1, (64 // stride) ** 2, width)
            for stride in (8, 16, 32)
            for kind, width in (("cls", 1), ("obj", 1), ("bbox", 4))
        },
    }[network]
    outputs = {
        name: rng.uniform(0.01, 0.05, shape).astype(np.float32) for name, shape in shapes.items()
    }
    match network:
        case "centerface":
            outputs["heat"][0, 0, 4, 4] = score
            outputs["size"][0, :, 4, 4] = 1.0
        case "fastestdet":
            outputs["out"][0, [0, 6], 3, 3] = score
        case "yolov8":
            outputs["out"][0, [0, 1, 2, 3, 5], 7] = 40, 60, 20, 30, score
        case "yolox":
            outputs["out"][0, 9, [0, 1, 2, 3]] = 0.3, 0.4, 1.0, 1.5
            outputs["out"][0, 9, [4, 6]] = score, 0.95
        case "yunet":
            outputs["cls_16"][0, 5] = outputs["obj_16"][0, 5] = score
            outputs["bbox_16"][0, 5] = 0.3, 0.4, 0.5, 0.2
    return outputs


def centre_and_sides(box: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    left, top, right, bottom = (float(v) for v in box[:4])
    return np.array([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top])


@pytest.mark.parametrize("network", DECODERS)
def test_weights_are_the_squared_effect_on_the_box(network: str) -> None:
    """A plan for boxes spends its precision on what moves them, by as much as it does."""
    outputs = one_object(network, 0.9)
    decode = DECODERS[network]
    [before] = decode(outputs)
    place = centre_and_sides(before)
    sides = np.tile(place[2:], 2)
    weights = WEIGHTS[network](outputs)
    checked = 0
    for name, weight in weights.items():
        assert weight.shape == outputs[name].shape
        for index in np.argwhere(weight > 0):
            moved = {n: a.copy() for n, a in outputs.items()}
            moved[name][tuple(index)] += STEP
            [after] = decode(moved)
            shift = (centre_and_sides(after) - place) / sides / STEP
            rise = (float(after[4]) - float(before[4])) / STEP
            effect = (rise / SCORE_ERROR) ** 2 + float(np.square(shift / BOX_ERROR).sum())
            assert weight[tuple(index)] == pytest.approx(effect, rel=0.05, abs=0.05)
            checked += 1
    assert checked >= 5


@pytest.mark.parametrize("network", DECODERS)
def test_cells_far_below_the_threshold_weigh_nothing(network: str) -> None:
    """Of thousands of cells a picture's objects are in a few; the others may err."""
    near = {"centerface": 0.4, "fastestdet": 0.5, "yolov8": 0.15, "yolox": 0.2, "yunet": 0.5}[
        network
    ]
    for score, weighs in ((0.01, False), (near, True)):
        outputs = one_object(network, score)
        assert len(DECODERS[network](outputs)) == 0
        total = sum(float(weight.sum()) for weight in WEIGHTS[network](outputs).values())
        assert (total > 1e-3) == weighs


def test_ready_metrics_of_boxes_weigh() -> None:
    """So `--metric fastestdet_f1` makes a plan for boxes."""
    for name in DECODERS:
        assert READY[f"{name}_f1"].error_weights is WEIGHTS[name]  # type: ignore[attr-defined]
        assert READY[f"{name}_iou"].error_weights is WEIGHTS[name]  # type: ignore[attr-defined]
