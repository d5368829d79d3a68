"""The plan format is a promise: files written by a released version are read by every later one,
mean the same, and are written again byte by byte. If these break, users' plans are worthless."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from mquans.errors import PlanError
from mquans.plan import (
    AudioFormat,
    GatePlan,
    InputFormat,
    LayerPlan,
    Plan,
    Provenance,
    TensorPlan,
    plan_fingerprint,
    read_plan,
)
from mquans.plan.file import decode_plan, encode_plan

GOLDEN = Path(__file__).parent / "golden" / "plan-v2.json"
GOLDEN_SOUND = GOLDEN.with_name("plan-v2-sound.json")
GOLDEN_WINDOWS = GOLDEN.with_name("plan-v2-windows.json")
GOLDEN_GATES = GOLDEN.with_name("plan-v2-gates.json")

EXPECTED = Plan(
    model="faces.onnx",
    model_sha256="0123456789abcdef" * 4,
    input_shapes={"image": (1, 3, 240, 320), "gain": (1,)},
    input=InputFormat(
        name="image", width=320, height=240, resize="letterbox", color="bgr", layout="nchw",
        scale=1 / 255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), fill=114.0,
    ),
    rule="hold",
    grid_bits=12,
    layers=(
        LayerPlan(name="/stem/Conv", delta=(2.0**-12, 0.5, 0.25), bits=(8, 7, 6), weight_bits=16),
        LayerPlan(name="/head/MatMul", delta=0.1, bits=8, weight_bits=8),
    ),
    provenance=Provenance(
        mquans="0.1.0", sources=("clip.mp4", "camera 0"), frames=64, created="2024-01-02T03:04:05Z"
    ),
)  # fmt: skip


EXPECTED_SOUND = Plan(
    model="vad.onnx",
    model_sha256="fedcba9876543210" * 4,
    input_shapes={"input": (1, 1, 120), "state": (2, 1, 128)},
    constants={"sr": 16000.0},
    feedback={"state": "stateN"},
    carry_state=True,
    audio=AudioFormat(
        name="input", shape=(1, 1, 120), rate=16000, features="fbank", window=400, hop=160,
        fft=512, function="povey", pad=True, gain=32768.0, bins=40, low=20.0, high=7600.0,
        mean=(0.5,), std=(2.0,), context=(1, 1), subsample=3,
    ),
    layers=(LayerPlan(name="lstm", delta=0.125, bits=8, weight_bits=16),),
    provenance=Provenance(
        mquans="0.1.0", sources=("a.wav",), frames=64, created="2024-01-02T03:04:05Z"
    ),
)  # fmt: skip


EXPECTED_WINDOWS = Plan(
    model="gestures.onnx",
    model_sha256="0123456789abcdef" * 4,
    input_shapes={"clip": (1, 3, 16, 112, 112)},
    input=InputFormat(
        name="clip", width=112, height=112, layout="ncthw", scale=1 / 127.5, mean=(1.0,),
        window=16, hop=4,
    ),
    layers=(LayerPlan(name="conv1", delta=0.125, bits=8, weight_bits=16),),
    provenance=Provenance(
        mquans="0.1.0", sources=("a.mkv",), frames=64, created="2024-01-02T03:04:05Z"
    ),
)  # fmt: skip


EXPECTED_GATES = Plan(
    model="people.onnx",
    model_sha256="0123456789abcdef" * 4,
    input_shapes={"image": (1, 3, 240, 320)},
    tolerance=0.125,
    tensors=(
        TensorPlan(name="image", exponents=-7, gate=GatePlan(scale=(60.0, 58.5, 61.0))),
        TensorPlan(
            name="stem", exponents=(-11, -12), bits=14, gate=GatePlan(scale=0.5, factor=2.0)
        ),
        TensorPlan(name="tokens", axis=2, exponents=-15),
    ),
    layers=(LayerPlan(name="/head/Gemm", delta=0.125, bits=8, weight_bits=16),),
    provenance=Provenance(
        mquans="0.1.0", sources=("a.mp4",), frames=64, created="2024-01-02T03:04:05Z"
    ),
)


def test_plan_of_gates_is_read_and_written_as_ever() -> None:
    """Other exponents or gates give other outputs."""
    assert read_plan(GOLDEN_GATES) == EXPECTED_GATES
    assert encode_plan(EXPECTED_GATES) == GOLDEN_GATES.read_bytes()
    assert plan_fingerprint(EXPECTED_GATES) == (
        "b341f17335eb7bf8c6c643bd22466c249e7ad5528020b49784a0c62e6a79c85b"
    )


def test_a_motion_gate_is_said_where_there_is_one() -> None:
    """Without it other frames are computed; plans that have none stay as they were."""
    plan = msgspec.structs.replace(EXPECTED_GATES, motion_gate=0.7)
    assert b'"tolerance": 0.125,\n  "motion_gate": 0.7,\n  "tensors"' in encode_plan(plan)
    assert decode_plan(encode_plan(plan)) == plan
    assert plan_fingerprint(plan) != plan_fingerprint(EXPECTED_GATES)
    wider = msgspec.structs.replace(plan, motion_tolerance=0.5)
    assert b'"motion_gate": 0.7,\n  "motion_tolerance": 0.5,\n' in encode_plan(wider)
    assert decode_plan(encode_plan(wider)) == wider
    assert plan_fingerprint(wider) != plan_fingerprint(plan)
    for share in (-0.1, 1.5):
        with pytest.raises(PlanError, match="motion_gate"):
            encode_plan(msgspec.structs.replace(plan, motion_gate=share))


def test_layers_in_floats_are_said_where_there_are_any() -> None:
    """Without them a network of sound is computed otherwise; with them other plans stay as they
    were."""
    plan = msgspec.structs.replace(EXPECTED_GATES, floats=("conv1", "conv2"))
    assert b'"floats": ["conv1", "conv2"]' in encode_plan(plan)
    assert decode_plan(encode_plan(plan)) == plan
    assert plan_fingerprint(plan) != plan_fingerprint(EXPECTED_GATES)


def test_codes_have_sixteen_bits_where_nothing_is_said() -> None:
    fields = json.loads(GOLDEN_GATES.read_bytes())
    del fields["tensors"][0]["bits"], fields["tensors"][0]["axis"], fields["tensors"][0]["gate"]
    assert decode_plan(json.dumps(fields).encode()).tensors[0] == TensorPlan(
        name="image", axis=1, exponents=-7, bits=16, gate=None
    )


def test_version_1_is_refused_and_says_what_to_do() -> None:
    fields = json.loads(GOLDEN.read_bytes()) | {"version": 1}
    with pytest.raises(PlanError, match=r"made by an earlier mquans.*Calibrate again"):
        decode_plan(json.dumps(fields).encode())


def test_plan_of_windows_of_pictures_is_read_and_written_as_ever() -> None:
    """A stream that stacks other pictures than calibration did computes nonsense."""
    assert read_plan(GOLDEN_WINDOWS) == EXPECTED_WINDOWS
    assert encode_plan(EXPECTED_WINDOWS) == GOLDEN_WINDOWS.read_bytes()
    assert plan_fingerprint(EXPECTED_WINDOWS) == (
        "d26d789a4f845c2e8e0629ff32f3b658c215dbf4896d0c4f7adc20ca4de78f75"
    )


def test_plan_of_sound_is_read_and_written_as_ever() -> None:
    """States, constants and front end: a stream that forgets one of them computes nonsense."""
    assert read_plan(GOLDEN_SOUND) == EXPECTED_SOUND
    assert encode_plan(EXPECTED_SOUND) == GOLDEN_SOUND.read_bytes()
    assert plan_fingerprint(EXPECTED_SOUND) == (
        "6a430783a4ade1852bebd74265eb72f010f864fecfcbaa4b70453f3a26c59475"
    )


def test_version_2_is_read_as_ever() -> None:
    assert read_plan(GOLDEN) == EXPECTED


def test_version_2_is_written_byte_by_byte() -> None:
    assert encode_plan(EXPECTED) == GOLDEN.read_bytes()


def test_fingerprint_of_version_2_is_stable() -> None:
    """Saved stream states carry this number; a change makes all of them unreadable."""
    assert plan_fingerprint(EXPECTED) == (
        "dfce2613982a35883706eb343359e725dad8f84423ead8892ae3eb507418de1e"
    )


def test_fields_with_defaults_may_be_left_out() -> None:
    """What a person needs to write by hand for a network fed with ready tensors."""
    fields = json.loads(GOLDEN.read_bytes())
    for name in ("input", "rule", "grid_bits"):
        del fields[name]
    del fields["layers"][1]["weight_bits"]
    plan = decode_plan(json.dumps(fields).encode())
    assert (plan.input, plan.rule, plan.grid_bits) == (None, "hold", 12)
    assert plan.layers[1] == EXPECTED.layers[1]


@pytest.mark.parametrize(
    "name", ["version", "model", "model_sha256", "input_shapes", "layers", "provenance"]
)
def test_other_fields_are_required(name: str) -> None:
    fields = json.loads(GOLDEN.read_bytes())
    del fields[name]
    with pytest.raises(PlanError, match=name):
        decode_plan(json.dumps(fields).encode())


def test_a_newer_version_is_refused_even_if_it_looks_alike() -> None:
    fields = json.loads(GOLDEN.read_bytes()) | {"version": 3, "criticality": {"deep": [[]]}}
    with pytest.raises(PlanError, match="made by a newer mquans"):
        decode_plan(json.dumps(fields).encode())
