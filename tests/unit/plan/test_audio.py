"""If these break, a plan from elsewhere makes a stream fail late, or fill the memory."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import numpy as np
import pytest

from mquans.errors import PlanError, SourceError
from mquans.graph.graph import Graph
from mquans.plan import AudioFormat, Plan, check_plan, plan_fingerprint
from mquans.plan.checks import check_values, problem_with
from mquans.plan.file import decode_plan, encode_plan
from mquans.sources import AudioFrames

SHA256 = "ab" * 32
replace = msgspec.structs.replace

SAMPLES = AudioFormat(name="image", shape=(1, 3, 4, 6), rate=16000, window=72, hop=40)
FBANK = AudioFormat(
    name="image", shape=(1, 3, 4, 6), rate=16000, features="fbank", window=400, hop=160, fft=512,
    function="povey", bins=24,
)  # fmt: skip


def of_sound(plan: Plan, audio: AudioFormat = SAMPLES) -> Plan:
    return replace(plan, input=None, audio=audio)


def test_plan_of_sound_is_read_as_it_was_written(plan: Plan, graph: Graph) -> None:
    """Nothing that a front end needs may get lost, or runs would need flags."""
    for audio in (SAMPLES, replace(FBANK, mean=tuple(np.arange(24.0)), context=(0, 0))):
        written = of_sound(plan, audio)
        assert decode_plan(encode_plan(written)) == written
        check_plan(written, graph, model_sha256=SHA256)
        assert written.preparation is audio


def test_plan_of_pictures_does_not_mention_sound(plan: Plan) -> None:
    """Files of earlier versions stay as they are, byte by byte."""
    assert b"audio" not in encode_plan(plan)
    assert plan.preparation is plan.input


def test_front_end_is_part_of_what_a_plan_computes(plan: Plan) -> None:
    """A stream saved under one front end must not go on under another."""
    other = of_sound(plan, replace(SAMPLES, hop=41))
    assert plan_fingerprint(of_sound(plan)) != plan_fingerprint(other)
    assert plan_fingerprint(of_sound(plan)) != plan_fingerprint(replace(plan, input=None))


def test_pictures_and_sound_exclude_each_other(plan: Plan) -> None:
    with pytest.raises(PlanError, match="both pictures"):
        check_values(replace(plan, audio=SAMPLES))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "other"}, "'other', which is not an input of the model"),
        ({"shape": (1, 72)}, r"prepared sound would have shape \[1, 72\], but the model takes"),
    ],
)
def test_format_for_another_network_is_refused(
    plan: Plan, graph: Graph, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(PlanError, match=f"audio: .*{message}"):
        check_plan(of_sound(plan, replace(SAMPLES, **change)), graph, model_sha256=SHA256)


HOSTILE: list[tuple[AudioFormat, dict[str, Any], str]] = [
    (SAMPLES, {"hop": 73}, "hop of 73 samples is longer than the window"),
    (SAMPLES, {"fft": 64}, "shorter than the window"),
    (SAMPLES, {"shape": (1, 71)}, "72 features, which do not fill shape"),
    (SAMPLES, {"shape": ()}, "do not fill shape"),
    (SAMPLES, {"shape": (1,) * 9 + (72,)}, "do not fill shape"),
    (SAMPLES, {"shape": (72, 1 << 20, 1 << 20)}, "larger than can be prepared"),
    (SAMPLES, {"gain": math.nan}, "gain must be finite"),
    (SAMPLES, {"scale": math.inf}, "scale must be finite"),
    (SAMPLES, {"floor": 0.0}, "floor of the logarithm must be greater than 0"),
    (SAMPLES, {"floor": math.nan}, "floor must be finite"),
    (SAMPLES, {"mean": (0.0, 1.0)}, "mean has 2 values, but there are 72 features"),
    (SAMPLES, {"mean": ()}, "mean has 0 values"),
    (SAMPLES, {"std": (0.0,)}, "std must not be 0"),
    (SAMPLES, {"std": (math.nan,)}, "std must be finite"),
    (SAMPLES, {"advance": 2}, "advance of 2 steps skips some of a frame's 1"),
    (FBANK, {"bins": 2}, r"needs 3 to 256 mel bands \(bins\), not 2"),
    (FBANK, {"bins": 257}, "needs 3 to 256 mel bands"),
    (FBANK, {"fft": 1024}, "next power of two"),
    (FBANK, {"function": "sqrt_hann"}, "not computed from windows in sqrt_hann"),
    (FBANK, {"periodic": True}, "periodic window only as hann"),
    (FBANK, {"high": 9000.0}, "mel bands must lie between 0 and 8000 Hz"),
    (FBANK, {"low": -1.0}, "mel bands must lie"),
    (FBANK, {"low": 5000.0, "high": 300.0}, "mel bands must lie"),
    (FBANK, {"low": math.nan}, "low must be finite"),
    (FBANK, {"features": "mfcc"}, "mfcc needs 1 to 24 coefficients, not 0"),
    (FBANK, {"features": "mfcc", "coefficients": 25}, "mfcc needs 1 to 24 coefficients"),
]


@pytest.mark.parametrize(("format", "change", "message"), HOSTILE)
def test_format_that_cannot_be_applied_is_named(
    plan: Plan, format: AudioFormat, change: dict[str, Any], message: str
) -> None:
    """In a plan and in a program; never an endless loop, a crash of a library, or a full memory."""
    bad = replace(format, **change)
    with pytest.raises(PlanError, match=message):
        check_values(of_sound(plan, bad))
    with pytest.raises(SourceError, match=message):
        AudioFrames(bad)
    assert problem_with(format) is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rate", 0), ("rate", 10**9), ("window", 0), ("window", 1 << 21), ("hop", 0), ("hop", 1.5),
        ("fft", -1), ("context", [1]), ("context", [-1, 0]), ("context", [0, 5000]),
        ("subsample", 0), ("subsample", 10**6), ("features", "speech"), ("function", "kaiser"),
        ("log", "2"), ("shape", [0]), ("shape", [-1, -72]), ("layout", "ntf"), ("whole", 1),
        ("gain", "loud"), ("name", None), ("command", "rm"), ("scale", None),
    ],
)  # fmt: skip
def test_file_with_a_wrong_value_is_refused(plan: Plan, field: str, value: object) -> None:
    fields = json.loads(encode_plan(of_sound(plan)))
    fields["audio"][field] = value
    with pytest.raises(PlanError, match="not a valid plan"):
        decode_plan(json.dumps(fields).encode())


def test_bands_too_narrow_for_the_transform_are_refused_before_any_sound(plan: Plan) -> None:
    """Only the library can tell; its refusal must not come in the middle of a stream."""
    pytest.importorskip("kaldi_native_fbank")
    with pytest.raises(SourceError, match="num_mel_bins too large"):
        AudioFrames(replace(FBANK, bins=240, shape=(1, 240)))
