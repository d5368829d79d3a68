"""Raw outputs of known detectors to boxes in pixels of the network's input, best first.

Every decoder takes `threshold`, the least score, with the default that the network's own examples
use. The same threshold is applied to both sides of a comparison.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from mquans.errors import MetricError
from mquans.metrics.detections import Boxes, suppress
from mquans.metrics.meter import Outputs

Decoder = Callable[[Outputs], Boxes]
Values = npt.NDArray[np.float32]

CENTERFACE_STRIDE = 4
"""Pixels of the input per cell of CenterFace's output."""

FASTESTDET_STRIDE = 16
YUNET_STRIDES = (8, 16, 32)
YOLOX_STRIDES = (8, 16, 32)


def decode_centerface(outputs: Outputs, *, threshold: float = 0.5) -> Boxes:
    """Faces in the outputs of CenterFace (Xu et al. 2019).

    Args:
        outputs: in the model's order: heat map [1, 1, H, W], log size [1, 2, H, W] (height, then
            width, in cells), offset [1, 2, H, W] (down, then right), landmarks (not used).
    """
    heat, size, offset = (np.asarray(value)[0] for value in list(outputs.values())[:3])
    rows, columns = np.nonzero(heat[0] > threshold)
    height, width = np.exp(size[:, rows, columns]) * CENTERFACE_STRIDE
    down, right = offset[:, rows, columns]
    centre_x = (columns + right + 0.5) * CENTERFACE_STRIDE
    centre_y = (rows + down + 0.5) * CENTERFACE_STRIDE
    boxes = _boxes(centre_x, centre_y, width, height, heat[0, rows, columns])
    largest = np.array(heat.shape[2:0:-1], np.float32) * CENTERFACE_STRIDE
    boxes[:, :4] = np.clip(boxes[:, :4], 0, np.tile(largest, 2))
    return suppress(boxes)


def decode_fastestdet(outputs: Outputs, *, threshold: float = 0.65, overlap: float = 0.45) -> Boxes:
    """Objects of 80 classes in the output of FastestDet (dog-qiuqiu/FastestDet,
    example/onnx-runtime).

    Args:
        outputs: the first is [1, 5 + classes, H, W]: objectness, centre (right, down; through tanh,
            in cells), size (width, height; through a sigmoid, in shares of the picture), class
            probabilities.
    """
    cells = np.asarray(next(iter(outputs.values())), np.float32)[0]
    best = cells[5:].max(axis=0)
    score = np.maximum(cells[0], 0) ** 0.6 * np.maximum(best, 0) ** 0.4
    rows, columns = np.nonzero(score > threshold)
    right, down, width, height = cells[1:5, rows, columns]
    return suppress(
        _boxes(
            (columns + np.tanh(right)) * FASTESTDET_STRIDE,
            (rows + np.tanh(down)) * FASTESTDET_STRIDE,
            _sigmoid(width) * cells.shape[2] * FASTESTDET_STRIDE,
            _sigmoid(height) * cells.shape[1] * FASTESTDET_STRIDE,
            score[rows, columns],
            cells[5:, rows, columns].argmax(axis=0),
        ),
        overlap=overlap,
    )


def decode_yunet(outputs: Outputs, *, threshold: float = 0.6, width: int | None = None) -> Boxes:
    """Faces in the outputs of YuNet (Wu et al. 2023), as OpenCV's FaceDetectorYN reads them.

    Args:
        outputs: `cls_S` [1, N, 1], `obj_S` [1, N, 1] and `bbox_S` [1, N, 4] (centre right, down and
            log width, height, in cells) for each stride S of 8, 16, 32; cells row by row.
        width: pixels of the network's input; needed unless it is square.
    """
    found = []
    for stride in YUNET_STRIDES:
        kind, objectness, box = (
            np.asarray(outputs[f"{name}_{stride}"], np.float32)[0]
            for name in ("cls", "obj", "bbox")
        )
        columns = round(len(box) ** 0.5) if width is None else width // stride
        if width is None and columns**2 != len(box):
            raise MetricError("the input is not square: give YuNet's decoder its width.")
        score = np.sqrt(np.clip(kind[:, 0], 0, 1) * np.clip(objectness[:, 0], 0, 1))
        cells = np.nonzero(score > threshold)[0]
        right, down, log_width, log_height = box[cells].T
        found.append(
            _boxes(
                (cells % columns + right) * stride,
                (cells // columns + down) * stride,
                np.exp(log_width) * stride,
                np.exp(log_height) * stride,
                score[cells],
            )
        )
    return suppress(np.concatenate(found))


def decode_yolov8(outputs: Outputs, *, threshold: float = 0.25, overlap: float = 0.7) -> Boxes:
    """Objects in the output of YOLOv8 and others with its head, as ultralytics exports them.

    Args:
        outputs: the first is [1, 4 + classes, N]: centre x, y, width, height in pixels, then the
            probability of every class.
    """
    anchors = np.asarray(next(iter(outputs.values())), np.float32)[0]
    best = anchors[4:].max(axis=0)
    anchors, best = anchors[:, best > threshold], best[best > threshold]
    x, y, width, height = anchors[:4]
    boxes = _boxes(x, y, width, height, best, anchors[4:].argmax(axis=0))
    return suppress(boxes, overlap=overlap)


def decode_yolox(
    outputs: Outputs,
    *,
    threshold: float = 0.3,
    overlap: float = 0.45,
    width: int | None = None,
) -> Boxes:
    """Objects in the output of YOLOX (Ge et al. 2021), as demo/ONNXRuntime of its repository reads
    them.

    Args:
        outputs: the first is [1, N, 5 + classes]: centre right, down and log width, height, in
            cells; objectness; class probabilities. Cells row by row, of the finest stride first.
        width: pixels of the network's input; needed unless it is square.
    """
    cells = np.asarray(next(iter(outputs.values())), np.float32)[0]
    # No probability is above 1: most cells need no look at their classes.
    found = np.nonzero(cells[:, 4] > threshold)[0]
    found = found[cells[found, 4] * cells[found, 5:].max(axis=1) > threshold]
    columns, rows, strides = yolox_cells(len(cells), width)[:, found]
    right, down, log_width, log_height = cells[found, :4].T
    classes = cells[found, 5:]
    return suppress(
        _boxes(
            (columns + right) * strides,
            (rows + down) * strides,
            np.exp(log_width) * strides,
            np.exp(log_height) * strides,
            cells[found, 4] * classes.max(axis=1),
            classes.argmax(axis=1),
        ),
        overlap=overlap,
    )


@lru_cache(maxsize=8)
def yolox_cells(count: int, width: int | None = None) -> Values:
    """Column, row and stride of every cell of YOLOX's output, [3, count], read-only.

    Args:
        width: pixels of the network's input; needed unless it is square.

    Raises:
        MetricError: no input has so many cells.
    """
    coarse = YOLOX_STRIDES[-1]
    # Of all strides, per cell of the coarsest.
    cells_each = sum((coarse // stride) ** 2 for stride in YOLOX_STRIDES)
    columns = math.isqrt(count // cells_each) if width is None else width // coarse
    rows = count // (cells_each * columns) if columns else 0
    if not count or rows * columns * cells_each != count or (width is None and rows != columns):
        raise MetricError(
            f"{count} cells are not those of a square picture."
            if width is None
            else f"{count} cells are not those of a picture {width} pixels wide.",
            hint="Give YOLOX's decoder the width of the network's input.",
        )
    parts = []
    for stride in YOLOX_STRIDES:
        each = coarse // stride
        down, right = np.indices((rows * each, columns * each)).reshape(2, -1)
        parts.append(np.stack([right, down, np.full_like(right, stride)]))
    found = np.concatenate(parts, axis=1).astype(np.float32)
    found.flags.writeable = False
    return found


def _boxes(
    x: Values, y: Values, width: Values, height: Values, score: Values, kind: Any = None
) -> Boxes:
    """Boxes around centres."""
    columns: list[Any] = [x - width / 2, y - height / 2, x + width / 2, y + height / 2, score]
    if kind is not None:
        columns.append(kind)
    return np.stack(columns, axis=1).astype(np.float32)


def _sigmoid(value: Values) -> Values:
    return np.asarray(1 / (1 + np.exp(-value)), np.float32)
