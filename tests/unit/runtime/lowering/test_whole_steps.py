"""Between two quantizations lie five nodes for a SiLU, three for a sum. Were each a pass over its
tensor, a quantized network would take longer than the one in floats that it was made of."""

from __future__ import annotations

from functools import cache

import numpy as np
import onnx
import onnxruntime
import pytest

import mquans
from mquans.plan import Plan
from mquans.runtime.lowering.sites.whole_steps import Blend, Encoded, Lookup, places_of
from mquans.runtime.session import Session, available_isas

from ...onnx.quantized_networks import SHAPE, clip, static

FORMS = ("pairs", "pairs, int8, one scale per weight", "operators")


@cache
def plan(form: str) -> Plan:
    return mquans.calibrate(static("gated", form), clip(SHAPE), bits=12)


def session(form: str, **options: str) -> Session:
    return Session(static("gated", form), plan(form), **options)


def unoptimised(form: str, frame: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    model = static("gated", form)
    engine = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return np.asarray(engine.run(None, {"x": frame})[0])


@pytest.mark.parametrize("form", FORMS)
def test_every_quantization_is_one_step(form: str) -> None:
    steps = session(form).lowered.sites.analysis.steps
    kinds = [type(step) for step in steps.values()]
    products = [step.product for step in steps.values() if isinstance(step, Blend)]
    assert kinds.count(Encoded) == 1
    assert sorted(products) == [False, True]
    assert kinds.count(Lookup) >= 5


@pytest.mark.parametrize("form", FORMS)
def test_what_follows_a_layer_is_part_of_its_step(form: str) -> None:
    """Three SiLUs, a sigmoid and a softplus, which has no other integer form."""
    lowered = session(form).lowered
    labels = session(form).compiled.step_labels
    functions = ("as", "h", "cs", "d", "ks", "l", "gs", "nt")
    assert [label for label in labels if label.split("_")[0].split("/")[0] in functions] == []
    analysis = lowered.sites.analysis
    assert len(analysis.tails) == 5
    assert analysis.apart == set()


@pytest.mark.parametrize("form", FORMS)
def test_outputs_are_those_of_the_quantized_network(form: str) -> None:
    """But for roundings of sums at half a step, which a layer passes on."""
    stream = session(form).stream()
    for frame in clip(SHAPE):
        found, expected = stream.step(frame, keyframe=True)["y"], unoptimised(form, frame)
        assert np.square(found - expected).mean() < 2e-3 * np.square(expected).mean()


def test_a_function_of_a_code_is_exact() -> None:
    """It is worked out beforehand, so nothing is rounded twice."""
    opened = session("pairs")
    lookups = {
        value: step
        for value, step in opened.lowered.sites.analysis.steps.items()
        if isinstance(step, Lookup)
    }
    names = [name for value, step in lookups.items() for name in (value, step.source)]
    outputs = opened.exposing(names).stream().step(clip(SHAPE)[0])
    for value, step in lookups.items():
        source = outputs[step.source].astype(np.int64)
        np.testing.assert_array_equal(outputs[value], step.results[source - step.first])


@pytest.mark.parametrize("isa", available_isas())
def test_codes_are_those_of_the_integer_operators(isa: str) -> None:
    """To the bit, layer by layer: sums of the deployed weights, rounded once."""
    names = ["a", "h", "c", "d", "e", "k", "l"]
    model = onnx.load_from_string(static("gated", "operators"))
    model.graph.output.extend(
        onnx.helper.make_empty_tensor_value_info(f"{name}_quantized") for name in names
    )
    zeros = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    engine = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    inner = [f"{name}_quantized/whole" for name in names]
    frame = clip(SHAPE)[0]
    found = session("operators", isa=isa).exposing(inner).stream().step(frame)
    for name in names:
        (expected,) = engine.run([f"{name}_quantized"], {"x": frame})
        steps = expected.astype(int) - int(zeros[f"{name}_zero_point"])
        np.testing.assert_array_equal(found[f"{name}_quantized/whole"], steps, err_msg=name)


def test_exposing_a_layers_own_value_changes_no_other() -> None:
    """The step of the layer then ends where the plan says nothing of it."""
    opened = session("pairs")
    inner = list(opened.lowered.sites.analysis.tails)
    exposed = opened.exposing(inner)
    plain, observed = opened.stream(), exposed.stream()
    for frame in clip(SHAPE):
        expected, found = plain.step(frame), observed.step(frame)
        assert found["y"].tobytes() == expected["y"].tobytes()
        assert all(np.array_equal(found[name], np.rint(found[name])) for name in inner)


@pytest.mark.parametrize("isa", ["avx2", "avx512"])
def test_every_instruction_set_gives_the_same_bits(isa: str) -> None:
    if isa not in available_isas():
        pytest.skip(f"this CPU has no {isa}")
    streams = [session("operators", isa=each).stream() for each in ("scalar", isa)]
    for frame in clip(SHAPE):
        first, second = (stream.step(frame)["y"] for stream in streams)
        assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize("form", FORMS)
def test_the_law_holds(form: str) -> None:
    assert mquans.verify(static("gated", form), plan(form), clip(SHAPE)).exact


def test_quantized_layers_of_one_site_stay_in_codes() -> None:
    """Whole steps are as coarse as they were deployed; floats would make nothing of it finer."""
    assert plan("pairs").floats == ()


@pytest.mark.parametrize("product", [False, True])
@pytest.mark.parametrize("factor", [2e-9, 0.004, 0.7, 1.0, 300.0])
def test_sums_of_whole_steps_fit_their_integers(factor: float, product: bool) -> None:
    """An overflow would turn the largest sums into the least."""
    step = Blend("a", "b", factor, 0.0 if product else -factor, product)
    places = places_of(step, 255, 511)
    a, b = round(step.a_factor * 2.0**places), round(step.b_factor * 2.0**places)
    half = 2**places // 2
    largest = 255 * 511 * abs(a) if product else 255 * abs(a) + 511 * abs(b)
    assert largest + half < 2**31
    # All the precision that there is room for.
    assert places == 30 or 4 * largest + 4 * half + 4 * 255 * 511 >= 2**31
