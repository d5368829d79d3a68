"""Instruction set, number of threads and mode are choices of speed: no output bit may depend on
them, nor on what was passed on inside a fused band and never stored."""

from __future__ import annotations

import itertools

import msgspec
import numpy as np
import pytest

from mquans.engine.oracle import FloatOracle
from mquans.engine.session import available_isas
from mquans.importers import import_model, read_model, to_onnx

from .builders import layer_states, plan_of
from .networks import MODELS, Network, network

VARIANTS = list(itertools.product(available_isas(), (1, 2), ("auto", "delta", "dense")))


@pytest.mark.parametrize("rule", ["hold", "nearest"])
@pytest.mark.parametrize("name", MODELS)
def test_every_way_to_run_gives_the_same_bits(name: str, rule: str) -> None:
    net = network(name, rule)
    frames = net.frames(7, 12)
    reference = net.session(isa="scalar", mode="dense").stream()
    streams = [
        net.session(isa=isa, threads=threads, mode=mode).stream() for isa, threads, mode in VARIANTS
    ]
    for index, frame in enumerate(frames):
        expected = reference.step(frame)
        state = layer_states(reference)
        for stream, variant in zip(streams, VARIANTS, strict=True):
            found = stream.step(frame)
            for output, array in expected.items():
                assert found[output].tobytes() == array.tobytes(), (index, output, variant)
            for layer, (mine, theirs) in enumerate(zip(layer_states(stream), state, strict=True)):
                for a, b in zip(mine, theirs, strict=True):
                    np.testing.assert_array_equal(a, b, f"frame {index}, {layer}, {variant}")
    assert reference.check() is None


@pytest.mark.parametrize("name", MODELS)
def test_a_fine_plan_is_the_network_itself(name: str) -> None:
    """12 bits everywhere and 16-bit weights: only rounding is left."""
    net = network(name, "hold", 16, 11)
    session = net.session()
    oracle = FloatOracle(session.graph)
    with session.stream() as stream:
        for frame in net.frames(0, 4):
            expected = oracle.run(frame)
            for output, array in stream.step(frame).items():
                error = np.square(array - expected[output]).sum()
                assert error < 1e-4 * np.square(expected[output]).sum(), output


@pytest.mark.parametrize("name", MODELS)
def test_values_that_are_never_stored_equal_those_that_are(name: str) -> None:
    """Once every input of a layer is an output of the network, nothing is passed on unstored."""
    net = network(name)
    exposed = exposing(net)
    apart, together = exposed.session().stream(), net.session().stream()
    for frame in net.frames(5, 8):
        apart.step(frame)
        together.step(frame)
        for a, b in zip(layer_states(apart), layer_states(together), strict=True):
            np.testing.assert_array_equal(a[0], b[0])
            np.testing.assert_array_equal(a[1], b[1])


def exposing(net: Network) -> Network:
    """The network with the input of every layer among its outputs."""
    graph = import_model(read_model(net.model))
    names = [node.inputs[0] for node in graph.reuse_layers() if node.inputs[0] not in graph.inputs]
    model = to_onnx(graph, outputs=[*graph.outputs, *names]).SerializeToString()
    renamed = import_model(read_model(model)).reuse_layers()
    layers = [
        msgspec.structs.replace(net.plan.layer(old.name), name=new.name)
        for old, new in zip(graph.reuse_layers(), renamed, strict=True)
    ]
    return Network(model, plan_of(model, layers, rule=net.plan.rule))
