"""Instruction set and number of threads are choices of speed: no output bit may depend on them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mquans.runtime.reference.interpreter import ReferenceNetwork
from mquans.runtime.session import available_isas

from .builders import layer_states
from .networks import MODELS, network

VARIANTS = list(itertools.product(available_isas(), (1, 2)))


@pytest.mark.parametrize("rule", ["hold", "nearest"])
@pytest.mark.parametrize("name", MODELS)
def test_every_way_to_run_gives_the_same_bits(name: str, rule: str) -> None:
    net = network(name, rule)
    frames = net.frames(7, 12)
    reference = net.session(isa="scalar").stream()
    streams = [net.session(isa=isa, threads=threads).stream() for isa, threads in VARIANTS]
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
    oracle = ReferenceNetwork(session.graph)
    with session.stream() as stream:
        for frame in net.frames(0, 4):
            expected = oracle.run(frame)
            for output, array in stream.step(frame).items():
                error = np.square(array - expected[output]).sum()
                assert error < 1e-4 * np.square(expected[output]).sum(), output
