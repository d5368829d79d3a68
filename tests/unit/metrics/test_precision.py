"""Average precision as COCO counts it, and the loss that budgets can be stated in."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest

from mquans.errors import DependencyError, MquansError
from mquans.metrics import (
    READY,
    AveragePrecisionLoss,
    average_precision,
    metric_name,
    new_meter,
)

pytest.importorskip("pycocotools")

A = [20.0, 40.0, 60.0, 120.0]
B = [220.0, 40.0, 260.0, 120.0]
C = [420.0, 40.0, 460.0, 120.0]

Found = tuple[list[float], float, int]
"""Box, score, class."""


def boxes(*found: Found) -> Any:
    rows = [[*box, score, kind] for box, score, kind in found]
    return np.array(rows, np.float32).reshape(-1, 6)


def outputs(*found: Found) -> dict[str, np.ndarray]:
    return {"boxes": boxes(*found)}


def direct(given: dict[str, np.ndarray], *, threshold: float = 0.01) -> np.ndarray:
    """Decodes outputs that are boxes already."""
    found = given["boxes"]
    return found[found[:, 4] > threshold]


def wanted(*frames: Sequence[list[float]]) -> list[Any]:
    return [boxes(*((box, 1.0, 0) for box in frame)) for frame in frames]


def test_precision_is_interpolated_at_101_recalls() -> None:
    """Right, wrong, right by falling score: precision 1 up to a recall of 0.5, 2/3 beyond. The
    wrong one lies where another frame has a box."""
    found = [boxes((B, 0.8, 0), (A, 0.9, 0)), boxes((B, 0.7, 0))]
    expected = (51 * 1 + 50 * 2 / 3) / 101
    assert average_precision(wanted([A], [B]), found) == pytest.approx(expected)


def test_each_wanted_box_is_found_once() -> None:
    """A second box on the same person is wrong, even a good one."""
    found = [boxes((A, 0.9, 0), (A, 0.8, 0), (B, 0.7, 0))]
    expected = (51 * 1 + 50 * 2 / 3) / 101
    assert average_precision(wanted([A, B]), found) == pytest.approx(expected)


@pytest.mark.parametrize(("overlap", "found"), [(0.5, 1), (0.6, 1), (0.61, 0)])
def test_match_takes_an_iou_of_at_least_overlap(overlap: float, found: float) -> None:
    """A box a fourth of its width aside has an IoU of 0.6: pycocotools counts equality."""
    aside = boxes(([30.0, 40.0, 70.0, 120.0], 0.9, 0))
    assert average_precision(wanted([A]), [aside], overlap=overlap) == pytest.approx(found)


def test_mean_is_over_the_classes_that_are_wanted() -> None:
    """One class found, one taken for a third: 1/2; boxes of what is not wanted cost nothing."""
    right = [boxes((A, 1, 0), (B, 1, 3))]
    found = [boxes((A, 0.9, 0), (B, 0.9, 5))]
    assert average_precision(right, found) == pytest.approx(0.5)


def test_boxes_without_a_class_match_any() -> None:
    """Labels of `[left, top, right, bottom]`, and detectors of faces."""
    bare = [frame[:, :5] for frame in wanted([A, B])]
    found = [boxes((A, 0.9, 0), (B, 0.8, 7))]
    assert average_precision(bare, found) == pytest.approx(1)
    assert average_precision(wanted([A, B]), [found[0][:, :5]]) == pytest.approx(1)


def test_nothing_found_and_nothing_wanted() -> None:
    """A dead network scores 0; a clip without anything to find says nothing."""
    nothing = [boxes(), boxes()]
    assert average_precision(wanted([A], []), nothing) == 0
    assert average_precision(nothing, [boxes((A, 0.9, 0)), boxes()]) is None


def test_only_the_best_100_boxes_of_a_frame_count() -> None:
    """As COCO has it."""
    far = [([1000.0 + i, 0.0, 1001.0 + i, 1.0], 0.9, 0) for i in range(100)]
    found = [boxes(*far, (A, 0.5, 0))]
    assert average_precision(wanted([A]), found) == 0
    assert average_precision(wanted([A]), [boxes(*far[1:], (A, 0.5, 0))]) == pytest.approx(0.01)


def test_stdout_stays_clean(capsys: pytest.CaptureFixture[str]) -> None:
    """pycocotools prints its progress, and `--json` must print one object and nothing else."""
    average_precision(wanted([A]), [boxes((A, 0.9, 0))])
    assert capsys.readouterr().out == ""


def test_loss_is_what_is_lost_against_the_labels() -> None:
    """Of the dense network's 1: half here; 0 where we are better than it."""
    label = [A, B]
    both, one = outputs((A, 0.9, 0), (B, 0.8, 0)), outputs((A, 0.9, 0))
    meter = AveragePrecisionLoss(direct)
    meter.add(one, both, label)
    assert meter.result() == pytest.approx(50 / 101)
    meter = AveragePrecisionLoss(direct)
    meter.add(both, one, label)
    assert meter.result() == 0


def test_scores_are_ranked_over_the_whole_clip() -> None:
    """A frame alone says nothing of a wrong box that is surer than the next frame's right one."""
    dense = outputs((A, 0.9, 0))
    meter = new_meter(AveragePrecisionLoss(direct))
    meter.add(outputs((A, 0.5, 0)), dense, [A])
    meter.add(outputs((B, 0.7, 0)), outputs(), [])
    assert meter.result() == pytest.approx(0.5)
    assert len(meter.per_frame) == 0


def test_without_labels_sure_boxes_of_the_dense_network_are_wanted() -> None:
    """Its doubtful boxes are not, so it scores 1 itself and losing them costs nothing."""
    dense = outputs((A, 0.9, 0), (B, 0.31, 0), (C, 0.29, 0))
    for found, loss in (
        (dense, 0),
        (outputs((A, 0.9, 0), (B, 0.2, 0)), 0),
        (outputs((A, 0.9, 0), (C, 0.9, 0)), 50 / 101),
    ):
        meter = AveragePrecisionLoss(direct, threshold=0.3)
        meter.add(found, dense, None)
        assert meter.result() == pytest.approx(loss, abs=1e-9)


def test_classes_that_are_not_asked_for_count_neither_way() -> None:
    """Labels name persons only: a bicycle that is found is not wrong, one that is missed no loss,
    and one in a person's place no person."""
    dense = outputs((A, 0.9, 0), (B, 0.95, 1))
    for found, loss in ((outputs((A, 0.5, 0), (C, 0.9, 1)), 0), (outputs((A, 0.9, 1)), 1)):
        meter = AveragePrecisionLoss(direct, classes=[0])
        meter.add(found, dense, [A])
        assert meter.result() == pytest.approx(loss)
        meter = AveragePrecisionLoss(direct, classes=[0])
        meter.add(found, dense, [[*A, 0], [*B, 1]])
        assert meter.result() == pytest.approx(loss)


def test_ready_metrics_of_yolox() -> None:
    """`--metric yolox_person_ap` on a street: a bench taken for a chair is nobody's loss there,
    but one of `yolox_ap`. Boxes of low score are ranked, not cut off."""
    dense = np.zeros((1, 84, 85), np.float32)
    dense[0, 9, 4:6] = 1.0
    dense[0, 30, [4, 5 + 13]] = 1.0
    worse = dense.copy()
    worse[0, 9, 4] = 0.05
    worse[0, 30, 5 + 13], worse[0, 30, 5 + 56] = 0.0, 1.0
    for name, loss in (("yolox_person_ap", 0.0), ("yolox_ap", 0.5)):
        meter = new_meter(READY[name])
        meter.add({"output": worse}, {"output": dense}, None)
        assert meter.result() == pytest.approx(loss)
        assert metric_name(READY[name]) == "average precision of decode_yolox"


def test_name_of_a_decoder_with_options() -> None:
    """What reports call a loss of one's own."""
    named = AveragePrecisionLoss(partial(direct, threshold=0.05))
    assert named.name == "average precision of direct"


def test_missing_package_is_named_before_the_clip_has_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the first frame, not after the last."""
    module = "mquans.metrics.precision"
    monkeypatch.setattr(f"{module}.find_spec", lambda name: None)
    with pytest.raises(DependencyError, match=r"mquans\[metrics\]"):
        AveragePrecisionLoss(direct).add(outputs(), outputs(), None)


def test_label_that_is_no_box_is_refused() -> None:
    """A file of steering angles for a detector."""
    with pytest.raises(MquansError, match="list of boxes"):
        AveragePrecisionLoss(direct).add(outputs(), outputs(), 0.5)
