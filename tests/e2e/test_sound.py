"""A network that listens, from a recording to its outputs, through the shell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from .conftest import Run, one_sentence, only_json

soundfile = pytest.importorskip("soundfile")
pytest.importorskip("soxr")


@pytest.fixture(scope="session")
def listener(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As Silero: 576 samples, a state and the rate in; a probability and the next state out."""
    rng = np.random.default_rng(0)

    def weight(name: str, *shape: int) -> onnx.TensorProto:
        values = rng.standard_normal(shape) * (4 / shape[-1]) ** 0.5
        return numpy_helper.from_array(values.astype(np.float32), name)

    def value(name: str, kind: int, *shape: int | str) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, shape)

    nodes = [
        helper.make_node("Cast", ["sr"], ["rate"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["rate", "full"], ["level"]),
        helper.make_node("Mul", ["input", "level"], ["loud"]),
        helper.make_node("Unsqueeze", ["loud", "first"], ["x"]),
        helper.make_node("GRU", ["x", "w", "r", "", "", "state"], ["y", "stateN"], hidden_size=16),
        helper.make_node("Squeeze", ["y", "directions"], ["h"]),
        helper.make_node("MatMul", ["h", "v"], ["score"]),
        helper.make_node("Sigmoid", ["score"], ["probability"]),
    ]
    graph = helper.make_graph(
        nodes,
        "listener",
        [
            value("input", TensorProto.FLOAT, 1, 576),
            value("state", TensorProto.FLOAT, 1, 1, 16),
            value("sr", TensorProto.INT64),
        ],
        [
            value("probability", TensorProto.FLOAT, 1, 1),
            value("stateN", TensorProto.FLOAT, 1, 1, 16),
        ],
        [
            weight("w", 1, 48, 576),
            weight("r", 1, 48, 16),
            weight("v", 16, 1),
            numpy_helper.from_array(np.float32(16000), "full"),
            numpy_helper.from_array(np.array([0]), "first"),
            numpy_helper.from_array(np.array([0, 1]), "directions"),
        ],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path_factory.mktemp("listener") / "listener.onnx"
    onnx.save(model, path)
    return path


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of stereo at 44.1 kHz: a tone that comes and goes."""
    time = np.arange(88200) / 44100
    tone = 0.5 * np.sin(2 * np.pi * 300 * time) * (np.sin(2 * np.pi * time) > 0)
    path = tmp_path_factory.mktemp("recording") / "tone.wav"
    soundfile.write(path, np.stack([tone, tone], axis=1), 44100)
    return path


def test_a_plan_of_sound_needs_no_flags(
    mquans: Run, listener: Path, recording: Path, tmp_path: Path
) -> None:
    """Front end, state and rate are said once, when calibrating."""
    made = mquans(
        "calibrate", listener, "--source", recording, "--constant", "sr=16000", "-o", "p.json"
    )
    assert made.returncode == 0, made.stderr
    assert "samples, windows of 576 samples every 512 at 16000 Hz" in made.stdout
    assert "state from stateN" in made.stdout
    assert "sr = 16000" in made.stdout
    known = (listener, "--plan", "p.json", "--source", recording, "--json")
    ran = mquans("run", *known, "--output", "out.npz")
    assert ran.returncode == 0, ran.stderr
    assert only_json(ran)["frames"] == 63  # 2 s * 16000 / 512, the last one filled up
    with np.load(tmp_path / "out.npz") as outputs:
        np.testing.assert_allclose(outputs["frame.time_s"][[0, 1, -1]], [0.032, 0.064, 2.0])
    assert only_json(mquans("verify", *known))["exact"]
    compared = only_json(mquans("compare", *known))
    assert compared["agreement"]["rel_sq_mean"] < 1e-3


def test_every_file_of_a_folder_is_heard_anew(
    mquans: Run, listener: Path, recording: Path, tmp_path: Path
) -> None:
    """A state of the last recording would show in the first answers of the next."""
    (tmp_path / "both").mkdir()
    for name in ("1.wav", "2.wav"):
        (tmp_path / "both" / name).write_bytes(recording.read_bytes())
    mquans("calibrate", listener, "--source", recording, "--constant", "sr=16000", "-o", "p.json")
    done = mquans("run", listener, "--plan", "p.json", "--source", "both", "--output", "out.npz")
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "out.npz") as outputs:
        first, second = np.split(outputs["probability"], 2)
    assert len(first) == 63
    assert np.array_equal(first, second)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ((), "--constant NAME=VALUE"),
        (("--constant", "sr=fast"), "--constant sr 'fast' is not a number"),
        (("--constant", "sr=16000", "--features", "fbank"), "needs 3 to 256 mel bands"),
        (("--constant", "sr=16000", "--size", "8x8"), "width is no part of"),
        (("--constant", "sr=16000", "--state", "state"), "--state 'state' is no pair"),
    ],
)  # fmt: skip
def test_what_cannot_be_says_so(
    mquans: Run, listener: Path, recording: Path, flags: tuple[str, ...], said: str
) -> None:
    done = mquans("calibrate", listener, "--source", recording, *flags, "-o", "p.json")
    assert done.returncode == 1
    assert said in one_sentence(done)
