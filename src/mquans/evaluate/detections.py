"""Boxes: CenterFace's outputs decoded, and how well two sets of boxes agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Boxes = npt.NDArray[np.float32]
"""[boxes, 5]: left, top, right, bottom in pixels of the network's input, and score."""

STRIDE = 4
"""Pixels of the input per cell of CenterFace's output."""


def decode_centerface(
    outputs: Mapping[str, npt.NDArray[np.float32]], *, threshold: float = 0.5
) -> Boxes:
    """Faces in the outputs of CenterFace (Xu et al. 2019), best first.

    Args:
        outputs: in the model's order: heat map [1, 1, H, W], log size [1, 2, H, W] (height, then
            width, in cells), offset [1, 2, H, W] (down, then right), landmarks (not used).
        threshold: least score.
    """
    heat, size, offset = (np.asarray(value)[0] for value in list(outputs.values())[:3])
    rows, columns = np.nonzero(heat[0] > threshold)
    height, width = np.exp(size[:, rows, columns]) * STRIDE
    down, right = offset[:, rows, columns]
    centre_x, centre_y = (columns + right + 0.5) * STRIDE, (rows + down + 0.5) * STRIDE
    largest_y, largest_x = heat.shape[1] * STRIDE, heat.shape[2] * STRIDE
    boxes = np.stack(
        [
            np.clip(centre_x - width / 2, 0, largest_x),
            np.clip(centre_y - height / 2, 0, largest_y),
            np.clip(centre_x + width / 2, 0, largest_x),
            np.clip(centre_y + height / 2, 0, largest_y),
            heat[0, rows, columns],
        ],
        axis=1,
    ).astype(np.float32)
    return suppress(boxes)


def suppress(boxes: Boxes, *, overlap: float = 0.3) -> Boxes:
    """Non-maximum suppression: boxes that overlap no better box by more than `overlap`, best
    first."""
    waiting = boxes[np.argsort(-boxes[:, 4], kind="stable")]
    kept = []
    while len(waiting):
        kept.append(waiting[0])
        waiting = waiting[1:][iou(waiting[:1], waiting[1:])[0] <= overlap]
    return np.array(kept, dtype=np.float32).reshape(-1, 5)


def iou(a: Boxes, b: Boxes) -> npt.NDArray[np.float32]:
    """Intersection over union of every pair, [len(a), len(b)]."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:4], b[None, :, 2:4])
    common = np.prod(np.clip(high - low, 0, None), axis=2)
    area_a = np.prod(a[:, 2:4] - a[:, :2], axis=1)
    area_b = np.prod(b[:, 2:4] - b[:, :2], axis=1)
    union = area_a[:, None] + area_b[None, :] - common
    return np.asarray(common / np.maximum(union, 1e-9), dtype=np.float32)


@dataclass(slots=True)
class DetectionScore:
    """Counts of matched and unmatched boxes over frames."""

    matched: int = 0
    missed: int = 0
    invented: int = 0

    def add(self, wanted: Boxes, found: Boxes, *, overlap: float = 0.5) -> None:
        """One frame: a found box matches the free wanted box that it overlaps most, at an IoU of at
        least `overlap`, best score first."""
        free = list(range(len(wanted)))
        hits = 0
        overlaps = iou(found, wanted)
        for row in np.argsort(-found[:, 4], kind="stable"):
            best = max(free, key=lambda column: overlaps[row, column], default=None)
            if best is not None and overlaps[row, best] >= overlap:
                free.remove(best)
                hits += 1
        self.matched += hits
        self.missed += len(free)
        self.invented += len(found) - hits

    @property
    def f1(self) -> float:
        """2 matched / (2 matched + missed + invented); 1 when there was nothing to find and
        nothing was found."""
        total = 2 * self.matched + self.missed + self.invented
        return 2 * self.matched / total if total else 1.0
