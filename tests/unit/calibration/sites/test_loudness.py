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
from mquans.calibration.sites.loudness import Loudness, Magnitude
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


def spectrum(*, log: bool) -> bytes:
    """Bands as front ends of speech networks are exported: a Fourier transform as convolutions, its
    squares, triangles over them, a logarithm, and a network behind it."""
    rng = np.random.default_rng(0)
    make, info = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    times = 2 * np.pi * np.outer(np.arange(33), np.arange(64)) / 64
    weights = {
        "cosine": np.cos(times)[:, None], "sine": np.sin(times)[:, None],
        "bands": np.abs(rng.normal(size=(33, 12))), "two": np.array(2), "least": np.array(1e-10),
        "head": rng.normal(size=(12, 12, 3)) / 6,
    }  # fmt: skip
    nodes = [
        make("Conv", ["sound", "cosine"], ["real"], "real", strides=[16]),
        make("Conv", ["sound", "sine"], ["imaginary"], "imaginary", strides=[16]),
        make("Pow", ["real", "two"], ["a"]),
        make("Mul", ["imaginary", "imaginary"], ["b"]),
        make("Add", ["a", "b"], ["power"]),
        make("Transpose", ["power"], ["frames"], perm=[0, 2, 1]),
        make("MatMul", ["frames", "bands"], ["energy"], "bands"),
        make("Max", ["energy", "least"], ["audible"]),
        make("Log", ["audible"], ["bels"]) if log else make("Sigmoid", ["audible"], ["bels"]),
        make("Transpose", ["bels"], ["rows"], perm=[0, 2, 1]),
        make("Conv", ["rows", "head"], ["y"], "head"),
    ]
    graph = onnx.helper.make_graph(
        nodes, "bands", [info("sound", 1, [1, 1, RATE])], [info("y", 1, None)],
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


def test_a_logarithm_hears_what_is_quiet(tmp_path: Path) -> None:
    """Codes of a power spectrum left nothing of it: outputs were off by half of what they vary."""
    model, frames = read_model(spectrum(log=True)), heard(1e-2)
    plan = calibrate(model, frames, bits=12)
    # What reads logarithms has codes, and reuse.
    assert set(plan.floats) == {"real+imaginary", "bands"}
    plan.save(tmp_path / "plan.json")
    session = Session(model, read_plan(tmp_path / "plan.json"))
    stream, dense = session.stream(), open_engine("ort-fp32", model, plan.options)
    found, expected = (one({"sound": frames[-1]})["y"] for one in (stream.step, dense.step))
    assert np.square(found - expected).sum() < 1e-6 * np.square(expected - expected.mean()).sum()
    assert stream.check() is None
    macs = {layer.name: layer.macs for layer in stream.stats.layers}
    assert macs.keys() == {"head"}
    # 47 steps of 66 sums of 64 samples, and of 12 bands of 33 powers.
    assert stream.stats.macs_total == macs["head"] + 47 * (66 * 64 + 12 * 33)


def test_without_a_logarithm_spectra_keep_codes() -> None:
    plan = calibrate(read_model(spectrum(log=False)), heard(1.0), bits=12)
    assert plan.floats == ()


def test_magnitudes_are_those_of_most_values() -> None:
    """Each channel's own; values that are exactly 0 say nothing."""
    meter = Magnitude()
    meter.add(np.array([[1e-3] * 99 + [1e3], [0.0] * 50 + [2.0] * 50, [0.0] * 100], np.float32))
    assert 5e-7 < meter.typical[0] < 2e-6
    np.testing.assert_allclose(meter.typical[1:], [4, 0])
    assert not len(Magnitude().typical)


def test_loudness_is_that_of_most_stretches() -> None:
    """Neither one loud moment nor digital silence decides, nor where a wave crosses zero."""
    meter = Loudness()
    sound = np.sin(np.arange(256 * 101)).astype(np.float32)
    sound[:256] *= 100
    sound[256 * 51 :] = 0
    meter.add(sound[None])
    assert 0.5 < meter.typical < 0.7
    assert Loudness().typical == 0
