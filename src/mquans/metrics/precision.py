"""Detection: average precision, the measure of COCO, by pycocotools (extra `metrics`)."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from mquans.errors import DependencyError
from mquans.metrics.decoders import Decoder
from mquans.metrics.detection import labelled_boxes
from mquans.metrics.detections import Boxes
from mquans.metrics.meter import Outputs, OutputWeights

MOST_BOXES = 100
"""Of a frame and class, best first, as COCO has it."""


class AveragePrecisionLoss:
    """How much lower the average precision over a clip is than the dense network's.

    A frame's label is a list of boxes [left, top, right, bottom] or with a class behind, in pixels
    of the network's input; wanted are those, or, without a label, what the dense network finds at
    `threshold`. The loss is `max(0, average precision of the dense network - that of the outputs
    under test)`, where without labels the dense network has 1. Single frames have none.

    Args:
        decode: outputs to boxes, of low scores too: average precision ranks them.
        overlap: least IoU of a match; 0.5 is AP50.
        classes: the only ones that count, both wanted and found; None for all. Needed where labels
            name no class and the network knows more than what is labelled.
        threshold: least score of the dense network's boxes that stand in for a label.
        error_weights: which errors of raw outputs move boxes, such as one of `box_weights`.
    """

    def __init__(
        self,
        decode: Decoder,
        *,
        overlap: float = 0.5,
        classes: Sequence[int] | None = None,
        threshold: float = 0.3,
        error_weights: OutputWeights | None = None,
    ) -> None:
        plain = getattr(decode, "func", decode)
        self.name = f"average precision of {getattr(plain, '__name__', 'boxes')}"
        self._decode = decode
        self._overlap = overlap
        self._classes = None if classes is None else list(classes)
        self._threshold = threshold
        self.error_weights = error_weights
        self._wanted: list[Boxes] = []
        self._found: list[Boxes] = []
        self._dense: list[Boxes] = []
        self.per_frame: list[float] = []

    def add(self, outputs: Outputs, dense_outputs: Outputs, label: Any) -> None:
        """One frame; see `MetricMeter`.

        Raises:
            DependencyError: pycocotools is not installed.
        """
        require_pycocotools()
        dense = self._scored(self._decode(dense_outputs))
        if label is None:
            wanted = dense[dense[:, 4] > self._threshold]
        else:
            wanted = self._scored(labelled_boxes(label))
        self._found.append(self._scored(self._decode(outputs)))
        self._dense.append(dense)
        self._wanted.append(wanted)

    def result(self) -> float:
        """Loss over all frames; 0 where nothing is wanted in any."""
        dense = average_precision(self._wanted, self._dense, overlap=self._overlap)
        found = average_precision(self._wanted, self._found, overlap=self._overlap)
        return 0.0 if dense is None or found is None else max(0.0, dense - found)

    def _scored(self, boxes: Boxes) -> Boxes:
        if self._classes is None or boxes.shape[1] < 6:
            return boxes
        return boxes[np.isin(boxes[:, 5], self._classes)]


def average_precision(
    wanted: Sequence[Boxes], found: Sequence[Boxes], *, overlap: float = 0.5
) -> float | None:
    """Average precision over frames as COCO defines it (Lin et al. 2014), computed by pycocotools.

    Precision is interpolated at 101 recalls; at most `MOST_BOXES` boxes of a frame and class count.
    The mean is taken over the classes that are wanted; as soon as a box names no class, boxes of
    any class match.

    Args:
        wanted, found: one [boxes, 5 or 6] per frame, see `Boxes`; scores of the wanted ones do not
            count.
        overlap: least IoU of a match.

    Returns:
        from 0 to 1; None where nothing is wanted.

    Raises:
        DependencyError: pycocotools is not installed.
    """
    require_pycocotools()
    from pycocotools.cocoeval import COCOeval

    by_class = all(boxes.shape[1] == 6 for boxes in (*wanted, *found) if len(boxes))
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools tells of its progress
        evaluation = COCOeval(_dataset(wanted, by_class), _dataset(found, by_class), "bbox")
        evaluation.params.iouThrs = np.array([overlap])
        evaluation.params.maxDets = [MOST_BOXES]
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, np.inf]], ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    # [1, recalls, classes that are wanted, 1, 1]
    precision = evaluation.eval["precision"]
    return float(precision.mean()) if precision.size else None


def require_pycocotools() -> None:
    """Check that pycocotools is there.

    Raises:
        DependencyError: it is not installed.
    """
    if find_spec("pycocotools") is None:
        raise DependencyError(
            "average precision needs the package 'pycocotools'.",
            hint='Install it with: pip install "mquans[metrics]"',
        )


def _dataset(frames: Sequence[Boxes], by_class: bool) -> Any:
    """Boxes as pycocotools takes them. Numbers start at 1: its 0 stands for no match."""
    from pycocotools.coco import COCO

    annotations = [
        {
            "id": number,
            "image_id": frame,
            "category_id": int(box[5]) if by_class else 0,
            "bbox": [float(v) for v in (box[0], box[1], box[2] - box[0], box[3] - box[1])],
            "area": float((box[2] - box[0]) * (box[3] - box[1])),
            "score": float(box[4]),
            "iscrowd": 0,
        }
        for number, (frame, box) in enumerate(
            ((frame, box) for frame, boxes in enumerate(frames) for box in boxes), start=1
        )
    ]
    dataset = COCO()
    dataset.dataset = {
        "images": [{"id": frame} for frame in range(len(frames))],
        "categories": [{"id": kind} for kind in {a["category_id"] for a in annotations}],
        "annotations": annotations,
    }
    dataset.createIndex()
    return dataset
