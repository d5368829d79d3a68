"""Classes that own an onnxruntime session must run on ours unchanged, or it is no drop-in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mquans._native")

import mquans
from mquans.errors import FrameError

RATE, CONTEXT, CHUNK = 16000, 64, 512


@pytest.mark.parametrize("file", ["silero_vad.onnx", "silero_vad_op18_ifless.onnx"])
def test_silero_hands_over_state_and_rate_itself(file: str) -> None:
    torch = pytest.importorskip("torch")
    utils = pytest.importorskip("silero_vad.utils_vad")
    model = Path(utils.__file__).parent / "data" / file
    rng = np.random.default_rng(0)
    loud = 0.1 * np.abs(np.sin(np.arange(60 * CHUNK) / 7000))
    samples = (rng.normal(size=loud.size) * loud).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(samples, CONTEXT + CHUNK)[::CHUNK]
    plan = mquans.calibrate(
        model, [{"input": window[None]} for window in windows], bits=12, weight_bits=16,
        constants={"sr": RATE}, input_shapes={"state": (2, 1, 128)},
    )  # fmt: skip
    original, reusing = (utils.OnnxWrapper(str(model), force_onnx_cpu=True) for _ in range(2))
    reusing.session = mquans.Session(model, plan)
    sound = torch.from_numpy(samples)
    for _ in range(2):
        found, expected = (each.audio_forward(sound, RATE) for each in (reusing, original))
        np.testing.assert_allclose(found, expected, atol=0.01)
    with pytest.raises(FrameError, match=r"'sr': the plan was made for 16000 only"):
        reusing(sound[:256], 8000)
    with pytest.raises(FrameError, match=r"expected shape \[1, 576\], got \[2, 576\]"):
        reusing(sound[: 2 * CHUNK].reshape(2, CHUNK), RATE)
