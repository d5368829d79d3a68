"""Segments that show what a quiet clip hides."""

from __future__ import annotations

import numpy as np

from mquans.calibration.stress import LENGTH, brightened, panned, spliced, stress_segments
from mquans.plan import InputFormat

FORMAT = InputFormat(name="x", width=16, height=12, scale=1 / 255, mean=(0.5,), std=(0.25,))


def picture(seed: int = 0) -> dict[str, np.ndarray]:
    pixels = np.random.default_rng(seed).uniform(0, 255, (1, 3, 12, 16))
    return {"x": ((pixels / 255 - 0.5) / 0.25).astype(np.float32)}


def test_pan_moves_by_a_fraction_of_a_pixel() -> None:
    """Ten frames at 0.3 are three pixels."""
    frames = panned(picture(), FORMAT)
    assert len(frames) == LENGTH
    np.testing.assert_array_equal(frames[0]["x"], picture()["x"])
    expected = picture()["x"][..., 3:, 3:]
    np.testing.assert_allclose(frames[10]["x"][..., :-3, :-3], expected, atol=1e-5)


def test_ramp_brightens_within_what_pixels_can_be() -> None:
    """White stays white, whatever scale and mean the network wants."""
    frames = brightened(picture(), FORMAT)
    np.testing.assert_allclose(frames[0]["x"], picture()["x"], atol=1e-6)
    pixels = (frames[-1]["x"] * 0.25 + 0.5) * 255
    assert pixels.max() <= 255 * (1 + 1e-6)
    dark = (picture()["x"] * 0.25 + 0.5) * 255 < 200
    ratio = pixels[dark] / ((picture()["x"] * 0.25 + 0.5) * 255)[dark]
    np.testing.assert_allclose(ratio, 1.1, atol=1e-3)


def test_splices_never_show_neighbours_in_time_together() -> None:
    """Every second frame is a cut, and a far one."""
    parts = [[({"x": np.full((1,), i, np.float32)}, i)] for i in range(40)]
    labels = [label for _, label in spliced(parts)]
    assert len(labels) == LENGTH
    cuts = [abs(a - b) for a, b in zip(labels[1::2], labels[2::2], strict=False)]
    assert min(cuts) > 10
    assert labels[0::2] == labels[1::2]


def test_labelled_frames_are_not_panned_and_tensors_only_spliced() -> None:
    """A box would no longer be where its label says."""
    items = [(picture(i), None) for i in range(4)]
    parts = [[item] for item in items]
    assert len(stress_segments(items, parts, FORMAT)) == 3
    assert len(stress_segments(items, parts, None)) == 1
    labelled = [(frame, [1, 2, 3, 4]) for frame, _ in items]
    assert len(stress_segments(labelled, parts, FORMAT)) == 2
