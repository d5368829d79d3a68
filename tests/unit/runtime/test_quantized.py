"""Quantized networks on streams: in codes, with reuse, and as near to what was deployed as the
integers allow."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnxruntime
import pytest

import mquans
from mquans.plan import Plan
from mquans.runtime.session import Session, available_isas

from ..onnx.quantized_networks import FORMS, SHAPE, clip, dynamic, static


def unoptimised(model: bytes, frame: np.ndarray) -> dict[str, np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"x": frame}), strict=True))


@cache
def model(form: str) -> bytes:
    return dynamic("convolutions") if form == "dynamic" else static("convolutions", form)


@cache
def plan(form: str) -> Plan:
    return mquans.calibrate(model(form), clip(SHAPE), bits=12)


@pytest.mark.parametrize("form", [*FORMS, "dynamic"])
def test_outputs_are_those_of_the_quantized_network(form: str) -> None:
    """Much nearer than its steps of 8 bits are wide, of which rounding takes a hundredth."""
    stream = Session(model(form), plan(form)).stream()
    for frame in clip(SHAPE):
        outputs = stream.step(frame, snap=True)
        for name, expected in unoptimised(model(form), frame).items():
            error = np.square(outputs[name] - expected).mean() / np.square(expected).mean()
            assert error < 3e-3


@pytest.mark.parametrize("form", ["pairs", "operators", "dynamic"])
def test_a_quiet_stream_leaves_little_to_do_and_keeps_the_law(form: str) -> None:
    session = Session(model(form), plan(form))
    stream = session.stream()
    for frame in clip(SHAPE):
        stream.step(frame)
    assert stream.stats.macs_done < 0.7 * stream.stats.macs_total
    assert mquans.verify(model(form), plan(form), clip(SHAPE)).exact


def test_codes_of_quantized_values_are_whole_steps() -> None:
    """What a layer was deployed to give is held exactly, however it is computed."""
    session = Session(model("pairs"), plan("pairs"))
    whole = [
        tensor
        for tensor in plan("pairs").tensors
        if tensor.bits == 9 and not np.any(tensor.exponents)
    ]
    assert len(whole) >= 5
    assert session.layer_names


@pytest.mark.parametrize("isa", ["scalar", "avx2", "avx512"])
def test_every_instruction_set_gives_the_same_bits(isa: str) -> None:
    if isa not in available_isas():
        pytest.skip(f"this CPU has no {isa}")
    streams = [
        Session(model("operators"), plan("operators"), isa=each).stream()
        for each in ("scalar", isa)
    ]
    for frame in clip(SHAPE):
        first, second = (stream.step(frame) for stream in streams)
        assert all(first[name].tobytes() == second[name].tobytes() for name in first)
