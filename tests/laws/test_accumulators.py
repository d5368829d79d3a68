"""The law: after every frame every accumulator is the exact product of the integer weights and the
held values, and the held values follow the reuse rule. Checked against plain numpy, layer by layer;
if it broke, errors would pile up in a stream without anybody noticing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mquans.calibration import calibrate
from mquans.graph import Linear
from mquans.onnx import to_onnx
from mquans.plan import LayerPlan
from mquans.runtime.session import Session, available_isas

from .builders import (
    MOVES,
    Layer,
    LayerTwin,
    Precision,
    layer_frames,
    layer_model,
    layer_states,
    logical,
    make_layer,
    plain_conv,
)
from .strategies import (
    MOVE_LISTS,
    SEEDS,
    convolutions,
    examples,
    linears,
    precisions,
    transposed_convolutions,
)


def follow(
    layer: Layer, precision: Precision, inputs: list[np.ndarray], *ways: dict[str, Any]
) -> None:
    """Runs streams beside their numpy twin: all instruction sets, and each way to run on each."""
    twin = LayerTwin(layer, precision)
    scale = twin.integers.scale.astype(np.float32).astype(np.float64)
    bias = np.zeros(len(scale)) if layer.bias is None else layer.bias.astype(np.float64)
    channel = -1 if isinstance(layer.op, Linear) else 1
    model, plan = layer_model(layer, precision)
    streams = [
        (way | {"isa": isa}, Session(model, plan, isa=isa, **way).stream())
        for isa in available_isas()
        for way in ways
    ]
    for index, x in enumerate(inputs):
        expected = twin.step(x)
        rows = np.moveaxis(expected.astype(np.float32).astype(np.float64), channel, -1)
        value = np.moveaxis(rows * scale + bias, -1, channel)
        tiny = 1e-6 * np.abs(value).max()
        for way, stream in streams:
            where = f"frame {index}, {way}"
            y = stream.step(x)["y"]
            [(held, acc)] = layer_states(stream)
            found = logical(layer, held, layer.shape)
            np.testing.assert_array_equal(found, twin.held, f"held values, {where}")
            found = logical(layer, acc, expected.shape)
            np.testing.assert_array_equal(found, expected, f"accumulators, {where}")
            np.testing.assert_allclose(y, value, rtol=1e-6, atol=tiny, err_msg=where)
    assert streams[-1][1].check() is None


def follow_any(data: st.DataObject, layer: Layer) -> None:
    precision = data.draw(precisions(layer.neurons))
    inputs = layer_frames(layer, precision, data.draw(MOVE_LISTS), data.draw(SEEDS))
    follow(layer, precision, inputs, {"threads": data.draw(st.integers(1, 2))})


@examples(120)
@given(st.data(), convolutions())
def test_convolution(data: st.DataObject, layer: Layer) -> None:
    follow_any(data, layer)


@examples(60)
@given(st.data(), transposed_convolutions())
def test_transposed_convolution(data: st.DataObject, layer: Layer) -> None:
    follow_any(data, layer)


@examples(50)
@given(st.data(), linears())
def test_linear(data: st.DataObject, layer: Layer) -> None:
    follow_any(data, layer)


def both_rules(layer: Layer, *ways: dict[str, Any]) -> None:
    """A stream with every kind of move, both rules and both weight widths."""
    for rule, weight_bits in (("hold", 8), ("nearest", 16)):
        entry = LayerPlan(name="y", delta=0.01, bits=7, weight_bits=weight_bits)
        precision = Precision(entry, rule)
        inputs = layer_frames(layer, precision, MOVES, seed=3)
        follow(layer, precision, inputs, *ways)


@pytest.mark.parametrize(
    ("channels", "outputs", "groups"), [(17, 40, 1), (40, 40, 40), (10, 66, 2)]
)
def test_rows_shared_out_to_threads(channels: int, outputs: int, groups: int) -> None:
    """Large enough that rows are split between threads."""
    layer = plain_conv(channels, outputs, (7, 75), kernel=(3, 3), pads=(1, 1, 1, 1), groups=groups)
    both_rules(layer, {"threads": 1}, {"threads": 2})


@pytest.mark.parametrize("groups", [1, 3])
def test_kernels_of_many_taps(groups: int) -> None:
    """More taps than the kernels gather at once."""
    layer = plain_conv(3, 3, (9, 17), kernel=(12, 13), pads=(6, 6, 6, 6), groups=groups)
    both_rules(layer, {})


@pytest.mark.parametrize("transposed", [False, True])
def test_a_pointwise_layer_that_shifts_its_input(transposed: bool) -> None:
    """Kernel 1, as wide as its input, yet output x does not stand under input x."""
    if transposed:
        layer = plain_conv(3, 5, (4,), kernel=(1,), strides=(2,), pads=(3, 0), transposed=True)
    else:
        layer = plain_conv(3, 5, (4,), kernel=(1,), strides=(2,), pads=(1, 2))
    assert layer.graph().shape("y") == (1, 5, 4)
    both_rules(layer, {})


def test_as_many_inputs_as_a_change_list_holds() -> None:
    """All of them change at once."""
    layer = make_layer(Linear(), (1, 65535), 2, 0, bias=True)
    entry = LayerPlan(name="y", delta=0.01, bits=7, weight_bits=16)
    moved = [np.full(layer.shape, value, np.float32) for value in (1.0, -1.0, 2.0)]
    follow(layer, Precision(entry), moved, {})


def test_more_inputs_than_a_change_list_holds_are_counted_in_parts() -> None:
    """Flattened feature maps reach this: 512 channels of 14 x 14 are 100352 inputs."""
    layer = make_layer(Linear(), (1, 65536), 2, 0, bias=True)
    model = to_onnx(layer.graph()).SerializeToString()
    frames = [np.full(layer.shape, value, np.float32) for value in (1.0, -1.0, 2.0)]
    session = Session(model, calibrate(model, frames * 4, bits=7))
    with session.stream() as stream:
        for frame in frames:  # all of them change at once
            stream.step(frame)
            assert stream.check() is None
            assert stream.stats.macs_done == 2 * 65536


def test_more_outputs_than_16_bits_count() -> None:
    """The vocabulary of a language model; `check` must not call it broken."""
    both_rules(make_layer(Linear(), (2, 3), 40000, 0, bias=True), {})
