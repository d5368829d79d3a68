"""If this breaks, the bare loop that a server is compared with steps other frames than it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import mquans

from ...clips import write_clip
from ...spots import pictures, write_model, write_plan


def write_pictures(folder: Path, count: int) -> Path:
    folder.mkdir()
    for number, picture in enumerate(pictures(count)):
        Image.fromarray(picture).save(folder / f"{number:02}.png")
    return folder


@pytest.mark.parametrize(
    ("timed", "expected"),
    [(True, [0, 2, 5, 7, 0, 2]), (False, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1])],
)
def test_the_loop_takes_the_frames_that_a_server_takes(
    tmp_path: Path, timed: bool, expected: list[int]
) -> None:
    """Of a clip at 10 frames per second four, and every picture of a folder, which has no times."""
    from serving_loop import Clip

    model = write_model(tmp_path / "spots.onnx")
    session = mquans.Session(model, write_plan(model, tmp_path / "spots.plan.json"))
    seen: list[int] = []

    def see(outputs: Any) -> None:
        bright = np.flatnonzero((outputs["heat"] > 0.5).any(axis=(0, 1, 2)))
        seen.append(int(bright[0]))

    source = (
        write_clip(tmp_path / "clip.avi", pictures(10), codec="mjpeg", pixels="yuvj420p")
        if timed
        else write_pictures(tmp_path / "clip", 10)
    )
    clip = Clip(session, source, 4, see)
    for _ in expected:
        clip.step()
    assert seen == expected
