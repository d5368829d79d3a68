"""Segments that show what a quiet clip hides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from mquans.calibration.stress import (
    DRIFT,
    LENGTH,
    NOISE,
    PARTS,
    STRETCH,
    brightened,
    drifting,
    louder,
    noisy,
    panned,
    spliced,
    stress_segments,
)
from mquans.plan import AudioFormat, InputFormat
from mquans.sources import FirstFrame, begins

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


@pytest.mark.parametrize("layout", ["nhwc", "ncthw", "ntchw", "nthwc"])
def test_pictures_of_windows_move_and_brighten_like_single_ones(layout: str) -> None:
    """Wherever the axes lie, what moves is height and width, and channels keep their own scale."""
    plain = replace(FORMAT, mean=(0.5, 0.25, 0.125))
    format = replace(plain, layout=layout, window=2 if "t" in layout else 1)

    def laid(x: np.ndarray) -> np.ndarray:
        pictures = np.repeat(x[:, :, None], format.window, axis=2)
        order = ["nchw".index(axis) if axis != "t" else 4 for axis in layout]
        moved = np.moveaxis(pictures, 2, 4)
        return moved.transpose(order) if "t" in layout else moved[..., 0].transpose(order)

    for make in (panned, brightened):
        found = make({"x": laid(picture()["x"])}, format)
        for frame, wanted in zip(found, make(picture(), plain), strict=True):
            np.testing.assert_allclose(frame["x"], laid(wanted["x"]), atol=1e-6)


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


def hops(count: int, width: int = 8) -> list[tuple[dict[str, np.ndarray], str | None]]:
    """Features of sound, the last one the last of a word."""
    rng = np.random.default_rng(1)
    made = [{"f": rng.normal(2, 1, (1, 1, width)).astype(np.float32)} for _ in range(count)]
    return [(frame, "yes" if index == count - 1 else None) for index, frame in enumerate(made)]


@pytest.mark.parametrize(
    ("features", "options", "expected"),
    [
        ("samples", {}, lambda x: x * 2**0.5),
        ("power", {}, lambda x: x * 2),
        ("log_power", {"log": "10"}, lambda x: x + np.log10(2)),
        ("fbank", {}, lambda x: x + np.log(2)),
    ],
)
def test_sound_grows_louder_by_three_decibels(
    features: str, options: dict[str, str], expected: Callable[[np.ndarray], np.ndarray]
) -> None:
    """In the domain of its features, behind their normalisation."""
    width = {"samples": 8, "fbank": 8}.get(features, 8)
    window = {"samples": 8, "fbank": 64}.get(features, 14)
    format = AudioFormat(
        name="f", shape=(1, 1, 8), rate=16000, features=features, window=window, hop=4,
        bins=width, scale=2.0, mean=(1.0,), std=(0.5,), **options,
    )  # fmt: skip
    frames = hops(10)
    made = louder(frames, format)
    np.testing.assert_allclose(made[0][0]["f"], frames[0][0]["f"], rtol=1e-5)
    raw, loud = ((x * 0.5 + 1.0) / 2.0 for x in (frames[-1][0]["f"], made[-1][0]["f"]))
    np.testing.assert_allclose(loud, expected(raw), rtol=1e-4)
    assert [label for _, label in made] == [label for _, label in frames]


def test_recordings_still_begin_where_they_did() -> None:
    """A stream that is not reset would carry one speaker's state into the next."""
    frames: list[tuple[dict[str, np.ndarray], str | None]] = hops(6)
    frames[3] = (FirstFrame(frames[3][0]), None)
    for made in (drifting(frames, ["f"]), noisy(frames, ["f"])):
        assert [begins(frame) for frame, _ in made] == [index == 3 for index in range(6)]


def test_ready_features_drift_hiss_and_are_cut() -> None:
    """Nothing is known of them but that they are no pictures; words do not survive a cut."""
    frames = hops(100)
    parts = [frames[start : start + 4] for start in range(0, 100, 4)]
    cut, drifted, hissed = stress_segments(frames, parts, None)
    assert len(cut) == PARTS * 4
    assert all(label is None for _, label in cut)
    assert len(drifted) == len(hissed) == STRETCH
    source = [frame["f"] for frame, _ in frames[18 : 18 + STRETCH]]
    spread = np.std(source, axis=0)
    np.testing.assert_allclose(
        drifted[-1][0]["f"] - source[-1], DRIFT * np.maximum(spread, spread.mean() / 10), rtol=1e-3
    )
    noise = np.std([a["f"] - b for (a, _), b in zip(hissed, source, strict=True)])
    assert noise == pytest.approx(NOISE * spread.mean(), rel=0.2)


def test_indices_lengths_and_masks_stay_what_they_were() -> None:
    """A token beyond the vocabulary ended the calibration of a decoder."""
    frames: list[Any] = [
        (frame | {"ids": np.full((1, 1), float(index % 5), np.float32)}, None)
        for index, (frame, _) in enumerate(hops(100))
    ]
    _, drifted, hissed = stress_segments(frames, [[f] for f in frames], None, {"ids": "int64"})
    for made in (drifted, hissed):
        assert [feeds["ids"].item() for feeds, _ in made] == [i % 5 for i in range(18, 82)]
        assert not np.array_equal(made[-1][0]["f"], frames[81][0]["f"])
    tokens = [({"ids": feeds["ids"]}, None) for feeds, _ in frames]
    assert len(stress_segments(tokens, [[f] for f in tokens], None, {"ids": "int64"})) == 1


def test_louder_sound_has_more_energy_and_the_same_colour() -> None:
    """Of cepstra only the first, the log energy, grows: by twice the logarithm of the gain."""
    rng, shape = np.random.default_rng(0), (1, 4, 6)
    format = AudioFormat(
        name="x", shape=shape, rate=16000, features="mfcc", window=400, hop=160, bins=20,
        coefficients=6, log="e",
    )  # fmt: skip
    frames = [({"x": rng.normal(size=shape).astype(np.float32)}, None) for _ in range(12)]
    found = list(louder(frames, format))
    gained = found[-1][0]["x"] - frames[-1][0]["x"]
    assert gained[..., 0] == pytest.approx(gained[0, 0, 0])
    assert gained[0, 0, 0] > 0.1
    np.testing.assert_allclose(gained[..., 1:], 0, atol=1e-6)


def test_inputs_of_integers_stay_whole() -> None:
    """A network that takes bytes refuses fractions: no budget could be kept."""
    rng = np.random.default_rng(0)
    frames: list[Any] = [
        ({"x": rng.integers(0, 256, (1, 3, 8, 8)).astype(np.float32)}, None) for _ in range(6)
    ]
    parts = [[frame] for frame in frames]
    format = InputFormat(name="x", width=8, height=8)
    segments = stress_segments(frames, parts, format, {"x": "uint8", "y": "bfloat16"})
    assert len(segments) == 3
    for values in (feeds["x"] for segment in segments for feeds, _ in segment):
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, np.clip(np.rint(values), 0, 255))
