"""Detection: F1 and mean IoU of decoded boxes."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from mquans.errors import MetricError
from mquans.metrics.box_labels import PictureBoxes
from mquans.metrics.decoders import Decoder
from mquans.metrics.detections import Boxes, DetectionScore
from mquans.metrics.meter import Outputs, OutputWeights


class DetectionLoss:
    """What a score over all boxes of a clip loses against the dense network's.

    A frame's label is a list of boxes [left, top, right, bottom] or with a class behind, in pixels
    of the network's input; wanted are those, or, without a label, what the dense network finds. The
    loss is `max(0, score of the dense network - score of the outputs under test)`, where without
    labels the dense network scores 1.

    Args:
        decode: outputs to boxes.
        overlap: least IoU of a match.
        score: `f1`, or `mean_iou`, which counts boxes without a match as 0.
        error_weights: which errors of raw outputs move boxes, such as one of `box_weights`.
    """

    def __init__(
        self,
        decode: Decoder,
        *,
        overlap: float = 0.5,
        score: Literal["f1", "mean_iou"] = "f1",
        error_weights: OutputWeights | None = None,
    ) -> None:
        self.name = f"{score} of {getattr(decode, '__name__', 'boxes')}"
        self._decode = decode
        self._overlap = overlap
        self._score = score
        self.error_weights = error_weights
        self.found, self.dense = DetectionScore(), DetectionScore()
        self.per_frame: list[float] = []

    def add(self, outputs: Outputs, dense_outputs: Outputs, label: Any) -> None:
        """One frame; see `MetricMeter`."""
        found, dense = self._decode(outputs), self._decode(dense_outputs)
        wanted = dense if label is None else labelled_boxes(label)
        alone = DetectionScore(), DetectionScore()
        for boxes, total, one in ((found, self.found, alone[0]), (dense, self.dense, alone[1])):
            total.add(wanted, boxes, overlap=self._overlap)
            one.add(wanted, boxes, overlap=self._overlap)
        self.per_frame.append(self._loss(*alone))

    def result(self) -> float:
        """Loss over all boxes of all frames."""
        return self._loss(self.found, self.dense)

    def _loss(self, found: DetectionScore, dense: DetectionScore) -> float:
        return max(0.0, float(getattr(dense, self._score) - getattr(found, self._score)))


def labelled_boxes(label: Any) -> Boxes:
    """A frame's label [boxes, 4 or 5] as boxes with score 1.

    Raises:
        MetricError: it has another shape.
    """
    if isinstance(label, PictureBoxes):
        raise MetricError(
            "the label's boxes are in pixels of the picture, not of the network's input.",
            hint="Place them with mquans.metrics.place_labels(labels, source).",
        )
    try:
        given = np.asarray(label, np.float32)
        given = given.reshape(0, 4) if given.size == 0 else given
        if given.ndim != 2 or given.shape[1] not in (4, 5):
            raise ValueError(f"its shape is {list(given.shape)}")
    except (TypeError, ValueError) as error:
        raise MetricError(
            f"the label is not a list of boxes: {error}.",
            hint="A box is [left, top, right, bottom] or [left, top, right, bottom, class].",
        ) from error
    scores = np.ones((len(given), 1), np.float32)
    return np.concatenate([given[:, :4], scores, given[:, 4:]], axis=1)
