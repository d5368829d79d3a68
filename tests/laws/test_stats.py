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
    session = layer_session(layer, precision, threads=data.draw(st.integers(1, 2)))
    stream, twin = session.stream(), LayerTwin(layer, precision)
    total = macs(layer.op, layer.integer_shape, np.ones(layer.shape, bool))
    for x in layer_frames(layer, precision, moves, data.draw(SEEDS)):
        stream.step(x)
        twin.step(x)
        [stats] = stream.stats.layers
        changed = twin.changed
        assert (stats.inputs, stats.macs) == (changed.size, total)
        assert stats.changed == np.count_nonzero(changed)
        assert stats.similarity == 1 - stats.changed / changed.size
        reached = macs(layer.op, layer.integer_shape, changed)
        assert stats.macs_done == reached
        assert stats.mode == ("changes" if changed.any() else "idle")
        per_pixel = np.count_nonzero(changed, axis=-1 if isinstance(layer.op, Linear) else 1)
        counted = stream.change_map(stats.name)
        np.testing.assert_array_equal(counted.reshape(per_pixel.shape), per_pixel)


@pytest.mark.parametrize("name", MODELS)
def test_work_of_a_network(name: str) -> None:
    net = network(name)
    stream = net.session().stream()
    frames = net.frames(0, 3)
    stream.step(frames[0])
    first = stream.stats
    assert first.macs_total == sum(layer.macs for layer in first.layers)
    assert 0 < first.macs_done <= first.macs_total
    assert {layer.mode for layer in first.layers} == {"changes"}
    stream.step(frames[0])
    still = stream.stats
    assert (still.macs_done, still.similarity, still.computation_reuse) == (0, 1.0, 1.0)
    assert {layer.mode for layer in still.layers} == {"idle"}
    stream.step(frames[1])
    moved = stream.stats
    assert moved.macs_done > 0
    assert 0 < moved.similarity < 1


@pytest.mark.parametrize("name", MODELS)
def test_work_is_that_of_the_changes(name: str) -> None:
    """Deep in a network too."""
    net = network(name)
    session = net.session()
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
                assert stats.macs_done == reached, node.name
            previous[node.name] = held
