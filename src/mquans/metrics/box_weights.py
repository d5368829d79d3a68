"""What the boxes of known detectors depend on: weights of squared errors at their raw outputs.

A relative squared error counts all cells of an output alike; boxes hang on the few in which
something is found, or nearly. Weights `w` are such that `sum w * error^2` is about 1 where errors
reach as far as a frame's boxes can bear: `SCORE_ERROR` of a score, `BOX_ERROR` of a box's size.
Nothing depends on the other cells.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mquans.metrics.decoders import (
    CENTERFACE_STRIDE,
    FASTESTDET_STRIDE,
    YUNET_STRIDES,
    yolox_cells,
)
from mquans.metrics.meter import Outputs, OutputWeights

Floats = npt.NDArray[np.float64]
Weights = dict[str, Floats]

SCORE_ERROR = 0.1

BOX_ERROR = 0.2
"""Of a side or a shift, in sides of the box."""

REACH = 0.5
"""Below the threshold, scores count less and less, at this share of it not at all."""

LEAST = 1e-4
"""Scores that roots are taken of are at least this."""


def centerface_weights(outputs: Outputs, *, threshold: float = 0.5) -> Weights:
    """Of CenterFace; outputs as `decode_centerface` takes them. Landmarks weigh nothing."""
    names = list(outputs)[:3]
    heat, size, _ = (np.asarray(outputs[name], np.float64) for name in names)
    share = _share(heat[:, 0], threshold)[:, None]
    shift = CENTERFACE_STRIDE / _sides(np.exp(size) * CENTERFACE_STRIDE)
    return {
        names[0]: share / SCORE_ERROR**2,
        names[1]: np.broadcast_to(share, size.shape) / BOX_ERROR**2,
        names[2]: share * np.square(shift / BOX_ERROR),
    }


def fastestdet_weights(outputs: Outputs, *, threshold: float = 0.65) -> Weights:
    """Of FastestDet; outputs as `decode_fastestdet` takes them."""
    name = next(iter(outputs))
    cells = np.asarray(outputs[name], np.float64)[0]
    objectness, best = np.maximum(cells[0], LEAST), np.maximum(cells[5:].max(axis=0), LEAST)
    score = objectness**0.6 * best**0.4
    share = _share(score, threshold)
    weights = np.zeros_like(cells)
    weights[0] = share * np.square(0.6 * score / objectness / SCORE_ERROR)
    rows, columns = np.indices(score.shape)
    of_best = share * np.square(0.4 * score / best / SCORE_ERROR)
    weights[5 + cells[5:].argmax(axis=0), rows, columns] = of_best
    centre, size = np.tanh(cells[1:3]), 1 / (1 + np.exp(-cells[3:5]))
    grid = np.array([cells.shape[2], cells.shape[1]]).reshape(2, 1, 1)
    shift = (1 - centre**2) / _sides(size * grid * FASTESTDET_STRIDE) * FASTESTDET_STRIDE
    weights[1:3] = share * np.square(shift / BOX_ERROR)
    weights[3:5] = share * np.square((1 - size) / BOX_ERROR)
    return {name: weights[None]}


def yunet_weights(outputs: Outputs, *, threshold: float = 0.6) -> Weights:
    """Of YuNet; outputs as `decode_yunet` takes them. Landmarks weigh nothing."""
    scores = {stride: _yunet_scores(outputs, stride) for stride in YUNET_STRIDES}
    found = sum(int((score > threshold).sum()) for score, _ in scores.values())
    weights: Weights = {}
    for stride, (score, factors) in scores.items():
        share = _share(score, threshold, found)
        for name, factor in factors.items():
            weights[name] = share * np.square(0.5 * score / factor / SCORE_ERROR)
        box = np.asarray(outputs[f"bbox_{stride}"], np.float64)
        shift = stride / _sides(np.exp(box[..., 2:]) * stride)
        each = np.concatenate([shift, np.ones_like(shift)], axis=-1)
        weights[f"bbox_{stride}"] = share * np.square(each / BOX_ERROR)
    return weights


def _yunet_scores(outputs: Outputs, stride: int) -> tuple[Floats, dict[str, Floats]]:
    """Scores [1, N, 1] of a stride, and by name the two outputs whose geometric mean they are."""
    names = (f"cls_{stride}", f"obj_{stride}")
    factors = {n: np.clip(np.asarray(outputs[n], np.float64), LEAST, 1) for n in names}
    return np.sqrt(np.prod(list(factors.values()), axis=0)), factors


def yolov8_weights(outputs: Outputs, *, threshold: float = 0.25) -> Weights:
    """Of YOLOv8; outputs as `decode_yolov8` takes them."""
    name = next(iter(outputs))
    anchors = np.asarray(outputs[name], np.float64)[0]
    best = anchors[4:].max(axis=0)
    share = _share(best, threshold)
    weights = np.zeros_like(anchors)
    weights[4 + anchors[4:].argmax(axis=0), np.arange(len(best))] = share / SCORE_ERROR**2
    # Centre and size are both in pixels.
    weights[:4] = share * np.square(1 / _sides(np.tile(anchors[2:4], (2, 1))) / BOX_ERROR)
    return {name: weights[None]}


def yolox_weights(outputs: Outputs, *, threshold: float = 0.3, width: int | None = None) -> Weights:
    """Of YOLOX; outputs and width as `decode_yolox` takes them."""
    name = next(iter(outputs))
    cells = np.asarray(outputs[name], np.float64)[0]
    objectness, best = cells[:, 4], cells[:, 5:].max(axis=1)
    share = _share(objectness * best, threshold)
    strides = yolox_cells(len(cells), width)[2]
    weights = np.zeros_like(cells)
    weights[:, 4] = share * np.square(best / SCORE_ERROR)
    of_best = share * np.square(objectness / SCORE_ERROR)
    weights[np.arange(len(cells)), 5 + cells[:, 5:].argmax(axis=1)] = of_best
    shift = strides[:, None] / _sides(np.exp(cells[:, 2:4]) * strides[:, None])
    weights[:, :2] = share[:, None] * np.square(shift / BOX_ERROR)
    weights[:, 2:4] = share[:, None] / BOX_ERROR**2
    return {name: weights[None]}


WEIGHTS: dict[str, OutputWeights] = {
    "centerface": centerface_weights,
    "fastestdet": fastestdet_weights,
    "yolov8": yolov8_weights,
    "yolox": yolox_weights,
    "yunet": yunet_weights,
}
"""By the names of `ready.DECODERS`."""


def _share(score: Floats, threshold: float, found: int | None = None) -> Floats:
    """What every cell counts, among all in which something is found."""
    if found is None:
        found = int((score > threshold).sum())
    near = np.clip((score / threshold - REACH) / (1 - REACH), 0, 1)
    return np.asarray(near / max(found, 1))


def _sides(pixels: Floats) -> Floats:
    """At least a pixel."""
    return np.maximum(pixels, 1.0)
