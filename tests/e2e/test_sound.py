"""A network that listens, from a recording to its outputs, through the shell."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from .conftest import Run, command, one_sentence, only_json

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


@pytest.fixture
def sound_plan(mquans: Run, listener: Path, recording: Path, tmp_path: Path) -> Path:
    path = tmp_path / "sound.json"
    args = ("--source", recording, "--constant", "sr=16000", "-o", path)
    assert mquans("calibrate", listener, *args).returncode == 0
    return path


def test_piped_sound_gives_what_the_file_gives(
    mquans: Run, listener: Path, recording: Path, sound_plan: Path, tmp_path: Path
) -> None:
    """WAV by its first bytes, samples by what is said about them; proofs take a pipe as well."""
    samples, rate = soundfile.read(recording, dtype="int16")
    ways = {"file": (recording,), "wav": ("-",), "raw": ("-", "--pcm", f"s16le:{rate}:2")}
    found = {}
    for name, way in ways.items():
        data = samples.tobytes() if name == "raw" else recording.read_bytes()
        args = ("--plan", sound_plan, "--output", f"{name}.npz", "--json", "--source", *way)
        done = mquans("run", listener, *args, input=data, text=None, stdin=None)
        assert done.returncode == 0, done.stderr
        with np.load(tmp_path / f"{name}.npz") as outputs:
            found[name] = {key: outputs[key] for key in outputs}
    for name in ("wav", "raw"):
        for key, wanted in found["file"].items():
            np.testing.assert_array_equal(found[name][key], wanted)
    done = mquans(
        "verify", listener, "--plan", sound_plan, "--source", "-",
        input=recording.read_bytes(), text=None, stdin=None,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_ctrl_c_keeps_what_came_through_a_pipe(
    listener: Path, sound_plan: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    """As of a microphone: `arecord ... | mquans run ...` has no other end."""
    args = ("run", listener, "--plan", sound_plan, "--output", "out.npz", "--source", "-")
    process = subprocess.Popen(
        [*command(), *map(str, args), "--pcm", "s16le:16000"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        env=environment,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(bytes(2 * 512 * 3))
    process.stdin.flush()
    for _ in range(3):
        assert process.stdout.readline().startswith(b"frame ")
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    process.stdin.close()
    process.stdout.close()
    with np.load(tmp_path / "out.npz") as outputs:
        assert len(outputs["probability"]) == 3


@pytest.mark.parametrize(
    ("data", "more", "said"),
    [
        (b"", (), "standard input: is empty"),
        (b"text" * 99, (), "raw samples are written: --pcm s16le:16000"),
        (b"", ("--pcm", "s16"), "--pcm 's16' does not say how samples are written"),
    ],
)
def test_wrong_standard_input_is_one_sentence(
    mquans: Run, listener: Path, sound_plan: Path, data: bytes, more: tuple[str, ...], said: str
) -> None:
    args = ("run", listener, "--plan", sound_plan, "--source", "-", *more)
    assert said in one_sentence(mquans(*args, input=data.decode(), stdin=None))


def test_closed_standard_input_is_one_sentence(
    mquans: Run, listener: Path, sound_plan: Path
) -> None:
    """Its number may be that of another file by then."""
    args = ("run", listener, "--plan", sound_plan, "--source", "-")
    done = mquans(*args, stdin=None, preexec_fn=lambda: os.close(0))
    assert "standard input: is closed" in one_sentence(done)


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
