"""Errors of tasks: what decides whether a scheme loses anything."""

from __future__ import annotations

import numpy as np
import pytest

from mquans_studies.contest.scores import TASKS, ErrorRate, RootMeanSquare, WordErrorRate


def test_errors_of_tasks() -> None:
    steering = RootMeanSquare()
    for found, wanted in ((1.0, 1.0), (2.0, 4.0)):
        steering.add({"y": np.array([[found]])}, {}, wanted)
    assert steering.result() == pytest.approx(np.sqrt(2))
    frames = ErrorRate()
    for label in (1, 0, None):
        frames.add({"y": np.array([[0.1, 0.9]])}, {}, label)
    assert frames.result() == 0.5
    words = WordErrorRate()
    for token, label in ((3, None), (0, None), (4, "2 5"), (1, "0")):
        words.add({"y": np.eye(11)[[token]]}, {}, label)
    assert words.result() == pytest.approx(1 / 3), "2 3 for 2 5, then 0 for 0"


def test_errors_of_frames_add_up_to_the_error_of_the_clip() -> None:
    """Intervals draw blocks of frames: what a frame adds must not depend on others."""
    words = WordErrorRate()
    for token, label in ((3, None), (0, None), (4, "2 5"), (1, "0")):
        words.add({"y": np.eye(11)[[token]]}, {}, label)
    assert words.per_frame == [0, 0, 1, 0]
    assert words.counts == [0, 0, 2, 1]
    found = RootMeanSquare.rate(np.array([4.0, 9.0]), np.array([1.0, 1.0]))
    np.testing.assert_allclose(found, [2, 3])


def test_no_loss_is_what_the_document_says() -> None:
    dense = np.array([2.0, 0.1])
    np.testing.assert_allclose(TASKS["rmse"].no_loss(dense), [2.02, 0.101])
    np.testing.assert_allclose(TASKS["word_error_rate"].no_loss(dense), [2.002, 0.102])
    np.testing.assert_allclose(TASKS["top1"].no_loss(dense), [2.001, 0.101])
