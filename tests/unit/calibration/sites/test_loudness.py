"""Speech is a thousand times as loud as what is between words, and networks hear both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from mquans import Session
from mquans.baselines import open_engine
from mquans.calibration import calibrate
from mquans.calibration.sites.loudness import Loudness
from mquans.errors import PlanError
from mquans.onnx import read_model
from mquans.plan import read_plan

RATE = 800
"""Samples per frame."""


def network() -> bytes:
    """Layers as in front of wav2vec2: convolutions over time, then a normalization by time step."""
    rng = np.random.default_rng(0)
    make, info = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    weights = {
        "first": rng.normal(size=(32, 1, 10)) / 3,
        "second": rng.normal(size=(32, 32, 3)) / 8,
        "third": rng.normal(size=(32, 32, 3)) / 8,
        "scale": np.ones(32),
        "head": rng.normal(size=(32, 16)) / 6,
    }
    nodes = []
    value = "sound"
    for name, stride in (("first", 5), ("second", 2), ("third", 2)):
        nodes.append(make("Conv", [value, name], [f"{name}/sum"], name, strides=[stride]))
        nodes.append(make("Relu", [f"{name}/sum"], [f"{name}/out"]))
        value = f"{name}/out"
    nodes += [
        make("Transpose", [value], ["steps"], perm=[0, 2, 1]),
        make("LayerNormalization", ["steps", "scale"], ["normal"], axis=-1, epsilon=1e-12),
        make("MatMul", ["normal", "head"], ["y"], "head"),
    ]
    graph = onnx.helper.make_graph(
        nodes, "speech", [info("sound", 1, [1, 1, RATE])], [info("y", 1, None)],
        [numpy_helper.from_array(a.astype(np.float32), name) for name, a in weights.items()],
    )  # fmt: skip
    opsets = [onnx.helper.make_opsetid("", 17)]
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def heard(quiet: float, frames: int = 24) -> np.ndarray:
    """Windows in each of which three quarters are this quiet."""
    sound = np.random.default_rng(1).normal(size=(frames, 1, 1, RATE)) / 4
    sound[..., RATE // 4 :] *= quiet
    return sound.astype(np.float32)


def test_quiet_steps_are_as_right_as_loud_ones(tmp_path: Path) -> None:
    """Codes left them a hundred times the error that outputs are to be within."""
    model, frames = read_model(network()), heard(1e-3)
    plan = calibrate(model, frames, bits=12)
    assert set(plan.floats) == {"first", "second", "third"}
    plan.save(tmp_path / "plan.json")
    session = Session(model, read_plan(tmp_path / "plan.json"))
    dense = open_engine("ort-fp32", model, plan.options)
    found, expected = (one({"sound": frames[-1]}) for one in (session.stream().step, dense.step))
    error = np.square(found["y"] - expected["y"]).sum() / np.square(expected["y"]).sum()
    assert error < 1e-4
    stream = session.stream()
    stream.step({"sound": frames[0]})
    assert stream.check() is None
    # Layers in floats are never skipped.
    stream.step({"sound": frames[0]})
    assert 0.5 < stream.stats.macs_done / stream.stats.macs_total < 1


def test_sound_without_silence_keeps_codes_and_reuse() -> None:
    model = read_model(network())
    plan = calibrate(model, heard(1.0), bits=12)
    assert plan.floats == ()
    other = calibrate(model, heard(1e-3), bits=12)
    with pytest.raises(PlanError, match="other layers in floats"):
        Session(model, plan).with_plan(other)


def test_loudness_is_that_of_most_stretches() -> None:
    """Neither one loud moment nor digital silence decides, nor where a wave crosses zero."""
    meter = Loudness()
    sound = np.sin(np.arange(256 * 101)).astype(np.float32)
    sound[:256] *= 100
    sound[256 * 51 :] = 0
    meter.add(sound[None])
    assert 0.5 < meter.typical < 0.7
    assert Loudness().typical == 0
