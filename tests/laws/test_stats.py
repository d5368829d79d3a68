"""The MACs that users are told were done must be those that were: counted here once more from the
geometry of the layer and the held values that moved."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mquans.graph import Linear

from .builders import Layer, LayerTwin, layer_frames, layer_session, logical
from .networks import MODELS, network
from .reference import macs
from .strategies import (
    MODES,
    MOVE_LISTS,
    SEEDS,
    convolutions,
    examples,
    linears,
    precisions,
    transposed_convolutions,
)


@examples(120)
@given(st.data(), st.one_of(convolutions(), transposed_convolutions(), linears()))
def test_work_of_one_layer(data: st.DataObject, layer: Layer) -> None:
    precision = data.draw(precisions(layer.neurons))
    moves = ["still", *data.draw(MOVE_LISTS), "still"]
    mode = data.draw(MODES)
    session = layer_session(layer, precision, mode=mode, threads=data.draw(st.integers(1, 2)))
    stream, twin = session.stream(), LayerTwin(layer, precision)
    total = macs(layer.op, layer.integer_shape, np.ones(layer.shape, bool))
    for index, x in enumerate(layer_frames(layer, precision, moves, data.draw(SEEDS))):
        stream.step(x)
        twin.step(x)
        [stats] = stream.stats.layers
        changed = twin.changed
        assert (stats.inputs, stats.macs) == (changed.size, total)
        if index == 0:
            assert (stats.macs_done, stats.mode) == (total, "dense")
            continue
        assert stats.changed == np.count_nonzero(changed)
        assert stats.similarity == 1 - stats.changed / changed.size
        reached = macs(layer.op, layer.integer_shape, changed)
        if not reached:
            assert (stats.macs_done, stats.mode) == (0, "idle")
        elif stats.mode == "delta":
            assert stats.macs_done == reached
        else:
            assert 0 < stats.macs_done <= total
        if not layer.is_depthwise:
            assert mode == "auto" or stats.mode in ("idle", mode)
        per_pixel = np.count_nonzero(changed, axis=-1 if isinstance(layer.op, Linear) else 1)
        counted = stream.change_map(stats.name)
        np.testing.assert_array_equal(counted.reshape(per_pixel.shape), per_pixel)


@pytest.mark.parametrize("mode", ["auto", "delta", "dense"])
@pytest.mark.parametrize("name", MODELS)
def test_work_of_a_network(name: str, mode: str) -> None:
    net = network(name)
    stream = net.session(mode=mode).stream()
    frames = net.frames(0, 3)
    stream.step(frames[0])
    first = stream.stats
    assert first.macs_done == first.macs_total == sum(layer.macs for layer in first.layers) > 0
    assert {layer.mode for layer in first.layers} == {"dense"}
    stream.step(frames[0])
    still = stream.stats
    assert (still.macs_done, still.similarity, still.computation_reuse) == (0, 1.0, 1.0)
    assert {layer.mode for layer in still.layers} == {"idle"}
    stream.step(frames[1])
    moved = stream.stats
    assert moved.macs_done > 0
    assert 0 < moved.similarity < 1
    stream.step(frames[2], snap=True)
    assert stream.stats.macs_done == first.macs_total


@pytest.mark.parametrize("name", MODELS)
def test_work_in_delta_mode_is_that_of_the_changes(name: str) -> None:
    """Deep in a network too, where inputs go straight onto the grids of the next layers."""
    net = network(name)
    session = net.session(mode="delta")
    stream = session.stream()
    nodes = list(session.graph.reuse_layers())
    previous: dict[str, np.ndarray] = {}
    for index, frame in enumerate(net.frames(2, 6)):
        stream.step(frame)
        for node, stats in zip(nodes, stream.stats.layers, strict=True):
            weight = session.graph.constants[node.inputs[1]].astype(np.float32)
            layer = Layer(node.op, session.graph.shape(node.inputs[0]), weight, None)
            held = logical(layer, stream.layer_state(node.name)[0], layer.shape)
            if index:
                changed = held != previous[node.name]
                reached = macs(node.op, layer.integer_shape, changed)
                assert stats.changed == np.count_nonzero(changed)
                if not layer.is_depthwise:
                    assert stats.macs_done == reached, node.name
            previous[node.name] = held
