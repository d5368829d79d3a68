"""The map of work shows where something moved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

import mquans
from mquans.report.watching import watch


def test_work_lies_where_the_picture_moves(
    small_model: Path, small_frames: npt.NDArray[np.float32]
) -> None:
    """The bright square crosses rows 4 to 7; three layers of 3x3 reach three rows further."""
    session = mquans.Session(small_model, mquans.calibrate(small_model, small_frames, bits=6))
    frames = [{"x": frame[None]} for frame in small_frames]
    found = watch(session, frames)
    assert found is not None
    work, picture = found
    np.testing.assert_allclose(picture, small_frames[-1].mean(axis=0))
    rows = work.sum(axis=1)
    assert rows[4:8].min() > 0
    assert rows[:1].max() == rows[12:].max() == 0
    with session.stream() as stream:
        done = []
        for feeds in frames:
            stream.step(feeds)
            done.append(sum(s.macs / s.inputs * s.changed for s in stream.stats.layers))
    np.testing.assert_allclose(work.sum(), np.mean(done[1:]))


def test_one_frame_tells_nothing(small_model: Path, small_frames: npt.NDArray[np.float32]) -> None:
    session = mquans.Session(small_model, mquans.calibrate(small_model, small_frames, bits=6))
    assert watch(session, [{"x": small_frames[:1]}]) is None
