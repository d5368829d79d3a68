"""Recurrent layers are reuse layers whose rows are time steps. The law and what follows from it
must hold inside a sequence and from call to call, or errors would pile up in a stream's state."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mquans.errors import FrameError, StateError
from mquans.graph import Linear
from mquans.runtime.reference.interpreter import ReferenceNetwork
from mquans.runtime.session import Session, available_isas

from .builders import same_outputs, same_states
from .recurrent_networks import Recurrent, recurrent_layers
from .reference import held_after
from .strategies import examples

ISAS = available_isas()


@examples(60)
@given(recurrent_layers(), st.integers(1, 2))
def test_every_way_to_run_gives_the_same_bits(layer: Recurrent, threads: int) -> None:
    model, plan = layer.planned()
    streams = [Session(model, plan, isa=isa, threads=threads).stream() for isa in ISAS]
    for x in layer.frames(3):
        expected = streams[0].step(x)
        for stream in streams[1:]:
            same_outputs(stream.step(x), expected)
            same_states(stream, streams[0])
        for stream in streams:
            assert stream.check() is None


@examples(40)
@given(recurrent_layers(), st.lists(st.booleans(), min_size=4, max_size=4))
def test_a_refresh_changes_nothing(layer: Recurrent, moments: list[bool]) -> None:
    session = layer.session()
    plain, recomputed = session.stream(), session.stream()
    for x, recompute in zip(layer.frames(4), moments, strict=True):
        expected = plain.step(x)
        same_outputs(recomputed.step(x), expected)
        if recompute:
            recomputed.recompute()
            same_outputs(recomputed.outputs(), expected)
        same_states(recomputed, plain)


@examples(40)
@given(recurrent_layers(causal=True))
def test_a_sequence_is_its_time_steps_one_by_one(layer: Recurrent) -> None:
    whole, single = layer.session().stream(), layer.session(steps=1).stream()
    for sequence in layer.frames(3):
        expected = whole.step(sequence)
        rows = [single.step(row[None]) for row in sequence]
        np.testing.assert_array_equal(np.concatenate([row["y"] for row in rows]), expected["y"])
        for name in layer.feedback.values():
            np.testing.assert_array_equal(rows[-1][name], expected[name])


@pytest.mark.parametrize(("direction", "batch"), [("forward", 1), ("reverse", 1), ("forward", 3)])
def test_long_sequences_that_change_are_the_sum_of_their_changes(
    direction: str, batch: int
) -> None:
    """Where most values change, sums are taken of all that is held, many time steps at once."""
    layer = Recurrent("LSTM", 150, batch, 17, 70, {"direction": direction}, bits=(10, 4))
    model, plan = layer.planned()
    variants = [(isa, threads) for isa in ISAS for threads in (1, 2)]
    streams = [Session(model, plan, isa=isa, threads=n).stream() for isa, n in variants]
    for x in layer.frames(2):
        expected = streams[0].step(x)
        assert streams[0].stats.layers[0].similarity < 0.5
        for stream in streams:
            if stream is not streams[0]:
                same_outputs(stream.step(x), expected)
            assert stream.check() is None
            stream.recompute()
            same_outputs(stream.outputs(), expected)


@examples(30)
@given(recurrent_layers(), st.integers(1, 3))
def test_a_stream_saved_within_an_utterance_goes_on_bit_for_bit(layer: Recurrent, at: int) -> None:
    session, other = layer.session(), layer.session(isa="scalar")
    stream, frames = session.stream(), layer.frames(5)
    for x in frames[:at]:
        stream.step(x)
    restored, clone = other.restore(stream.save()), stream.clone()
    for x in frames[at:]:
        expected = stream.step(x)
        same_outputs(restored.step(x), expected)
        same_outputs(clone.step(x), expected)


@examples(20)
@given(recurrent_layers())
def test_streams_of_a_session_do_not_touch_each_other(layer: Recurrent) -> None:
    session = layer.session()
    first, second = layer.frames(3), replace(layer, seed=layer.seed + 7).frames(3)
    apart, together, other = session.stream(), session.stream(), session.stream()
    expected = [apart.step(x) for x in first]
    for x, z, outputs in zip(first, second, expected, strict=True):
        other.step(z)
        same_outputs(together.step(x), outputs)
    other.reset()
    for x, outputs in zip(first, expected, strict=True):
        same_outputs(other.step(x), outputs)


@examples(40)
@given(recurrent_layers())
def test_a_fine_plan_is_the_layer_itself(layer: Recurrent) -> None:
    fine = replace(layer, bits=(12, 12), several=False, weight_bits=16, rule="hold")
    session = fine.session()
    oracle, stream = ReferenceNetwork(session.graph), session.stream()
    states = {name: np.zeros(session.graph.shape(name)) for name in fine.feedback}
    for x in fine.frames(2):
        expected = oracle.run({"x": x} | states)
        states = {name: expected[output] for name, output in fine.feedback.items()}
        for name, array in stream.step(x).items():
            np.testing.assert_allclose(array, expected[name], atol=0.02, err_msg=name)


def test_states_that_a_frame_brings_are_taken() -> None:
    """Code written for onnxruntime hands the states over itself."""
    layer = Recurrent("LSTM", 1, 1, 5, 17, {})
    session = layer.session()
    stream, shape = session.stream(), session.graph.shape("h")
    states = {name: np.zeros(shape, np.float32) for name in layer.feedback}
    for x in layer.frames(4):
        expected = stream.step(x)
        found = session.run(None, {"x": x, **states})
        for array, name in zip(found, session.graph.outputs, strict=True):
            assert array.tobytes() == expected[name].tobytes()
        states = {name: expected[output] for name, output in layer.feedback.items()}


def test_outputs_belong_to_the_caller() -> None:
    """Who scales an output in place must not change what the network remembers."""
    layer = Recurrent("LSTM", 2, 1, 5, 17, {})
    kept, scaled = layer.session().stream(), layer.session().stream()
    for x in layer.frames(3):
        expected = kept.step(x)
        outputs = scaled.step(x)
        same_outputs(outputs, expected)
        for array in outputs.values():
            array *= 2


def test_a_state_that_is_unknown_or_has_another_shape_is_refused() -> None:
    layer = Recurrent("GRU", 1, 1, 5, 7, {})
    stream, (x,) = layer.session().stream(), layer.frames(1)
    for wrong in ({"state": x}, {"h": x}, {"h": np.zeros((1, 1, 7))}):
        with pytest.raises(FrameError):
            stream.step({"x": x, **wrong})
    assert stream.frames == 0


def test_a_state_that_overflows_is_told_from_a_bad_frame() -> None:
    """Else a stream would refuse every further frame, each time for the wrong reason."""
    relu = {"activations": ["Relu"]}
    stream = Recurrent("RNN", 1, 1, 1, 1, relu).session().stream()
    x = np.ones((1, 1, 1), np.float32)
    stream.step({"x": x})
    stream._feedback.keep({"h_out": np.full((1, 1, 1), np.inf, np.float32)})
    with pytest.raises(FrameError, match="state 'h' has become NaN or infinite"):
        stream.step({"x": x})
    with pytest.raises(FrameError, match="the frame holds NaN"):
        stream.step({"x": x * np.nan, "h": x})
    stream.reset()
    stream.step({"x": x})


def test_a_saved_stream_is_refused_under_another_plan_and_where_it_was_damaged() -> None:
    layer = Recurrent("LSTM", 3, 2, 5, 7, {})
    session = layer.session()
    stream = session.stream()
    first, second, third = layer.frames(3)
    stream.step(first)
    state = stream.save()
    others = [replace(layer, bits=(7, 5)), replace(layer, seed=1)]
    plan = msgspec.structs.replace(session.plan, feedback={"h": "c_out", "c": "h_out"})
    for other in (*(other.session() for other in others), session.with_plan(plan)):
        with pytest.raises(StateError, match="saved under another"):
            other.restore(state)
    running, plain = session.stream(), session.stream()
    same_outputs(running.step(second), plain.step(second))
    for at in range(0, len(state), 7):
        damaged = bytearray(state)
        damaged[at] ^= 1
        with pytest.raises(StateError):
            running.load(bytes(damaged))
    same_outputs(running.step(third), plain.step(third))


@pytest.mark.parametrize("rule", ["hold", "nearest"])
@pytest.mark.parametrize(("steps", "batch"), [(1, 1), (6, 1), (5, 3)])
def test_a_layer_over_time_compares_each_step_with_the_one_before(
    steps: int, batch: int, rule: str
) -> None:
    """Against plain numpy; the first time step follows the last one of the frame before."""
    layer = Recurrent("RNN", steps, batch, 17, 33, {}, rule=rule)
    stream = layer.session().stream()
    name = stream.stats.layers[0].name
    plan = layer.session().plan.layer(name)
    held = np.zeros((batch, 17), np.int64)
    for index, x in enumerate(layer.frames(4)):
        stream.step(x)
        rows, changed = [], 0
        for t in range(steps):
            before, keyframe = held, index == 0 and t == 0
            held = held_after(
                held, x[t], plan, Linear(), rule=rule, grid_bits=12, keyframe=keyframe
            )
            changed += int((held != before).sum())
            rows.append(held)
        found, _ = stream.layer_state(name)
        np.testing.assert_array_equal(found, np.array(rows))
        if index:
            assert stream.stats.layers[0].changed == changed
