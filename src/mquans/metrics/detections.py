"""Boxes: overlap, suppression, and how well two sets of boxes agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Boxes = npt.NDArray[np.float32]
"""[boxes, 5 or 6]: left, top, right, bottom in pixels of the network's input, score, and the class
where there are several."""


def same_class(a: Boxes, b: Boxes) -> npt.NDArray[np.bool_]:
    """Whether the classes of every pair agree, [len(a), len(b)]; boxes without one go with all."""
    if a.shape[1] < 6 or b.shape[1] < 6:
        return np.ones((len(a), len(b)), np.bool_)
    return np.equal.outer(a[:, 5], b[:, 5])


def suppress(boxes: Boxes, *, overlap: float = 0.3) -> Boxes:
    """Non-maximum suppression: boxes that overlap no better box of their class by more than
    `overlap`, best first."""
    waiting = boxes[np.argsort(-boxes[:, 4], kind="stable")]
    kept = []
    while len(waiting):
        best, waiting = waiting[:1], waiting[1:]
        kept.append(best[0])
        rival = same_class(best, waiting)[0] & (iou(best, waiting)[0] > overlap)
        waiting = waiting[~rival]
    return np.array(kept, dtype=np.float32).reshape(-1, boxes.shape[1])


def iou(a: Boxes, b: Boxes) -> npt.NDArray[np.float32]:
    """Intersection over union of every pair, [len(a), len(b)]."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:4], b[None, :, 2:4])
    common = _areas(np.maximum(high - low, 0))
    union = _areas(a[:, None, 2:4] - a[:, None, :2]) + _areas(b[:, 2:4] - b[:, :2]) - common
    return np.asarray(common / np.maximum(union, 1e-9), dtype=np.float32)


def _areas(sizes: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Of rectangles, [..., 2]."""
    return np.asarray(sizes[..., 0] * sizes[..., 1])


@dataclass(slots=True)
class DetectionScore:
    """Counts of matched and unmatched boxes over frames, and the summed IoU of matched ones."""

    matched: int = 0
    missed: int = 0
    invented: int = 0
    overlaps: float = 0.0

    def add(self, wanted: Boxes, found: Boxes, *, overlap: float = 0.5) -> None:
        """One frame: a found box matches the free wanted box of its class that it overlaps most, at
        an IoU of at least `overlap`, best score first."""
        free = list(range(len(wanted)))
        hits = 0
        overlaps = np.where(same_class(found, wanted), iou(found, wanted), -1)
        for row in np.argsort(-found[:, 4], kind="stable"):
            best = max(free, key=lambda column: overlaps[row, column], default=None)
            if best is not None and overlaps[row, best] >= overlap:
                free.remove(best)
                hits += 1
                self.overlaps += float(overlaps[row, best])
        self.matched += hits
        self.missed += len(free)
        self.invented += len(found) - hits

    @property
    def f1(self) -> float:
        """2 matched / (2 matched + missed + invented); 1 when there was nothing to find and
        nothing was found."""
        total = 2 * self.matched + self.missed + self.invented
        return 2 * self.matched / total if total else 1.0

    @property
    def mean_iou(self) -> float:
        """IoU averaged over matched, missed and invented boxes, the last two with 0; 1 when there
        were none."""
        total = self.matched + self.missed + self.invented
        return self.overlaps / total if total else 1.0
