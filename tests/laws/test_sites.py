"""Layers over sites compute the integers that the design defines, whatever runs them and however
little of a frame moved."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mquans.engine.oracle import FloatOracle
from mquans.graph import Linear, Unary

from .site_networks import (
    MOVES,
    VARIANTS,
    SiteNetwork,
    SiteStream,
    linear_network,
    networks,
    plan_of_sites,
)
from .strategies import SEEDS, examples

STREAMS = st.lists(st.sampled_from(MOVES), min_size=1, max_size=5)


def same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray], what: object) -> None:
    """Bit for bit."""
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].tobytes() == np.ascontiguousarray(array).tobytes(), (name, what)


def follow(net: SiteNetwork, moves: list[str], seed: int) -> None:
    """Steps every variant and the reference through a stream, and compares all they hold."""
    reference = net.reference()
    streams = [SiteStream(net, isa, threads) for isa, threads in VARIANTS]
    for index, frame in enumerate(net.frames(moves, seed)):
        reference.step(frame)
        for stream, variant in zip(streams, VARIANTS, strict=True):
            outputs = stream.step(frame)
            where = (index, variant)
            for value, held in reference.held.items():
                np.testing.assert_array_equal(stream.held(value), held, f"{value} {where}")
                np.testing.assert_array_equal(
                    stream.taken(value), reference.taken[value], f"taken of {value} {where}"
                )
            reports = zip(reference.layers.values(), stream.native.site_reports, strict=True)
            for layer, (active, taken, _) in reports:
                value = layer.node.outputs[0]
                assert active == reference.active[value].sum(), (value, where)
                assert taken == reference.taken[value].sum(), (value, where)
            same(outputs, reference.outputs(), where)


@examples(120)
@given(networks(), STREAMS, SEEDS)
def test_every_way_to_run_equals_the_reference(
    net: SiteNetwork, moves: list[str], seed: int
) -> None:
    """Otherwise a user gets other detections on another machine, or wrong ones everywhere: windows at
    the wrong place, sites that were not computed again, gates that decide otherwise."""
    follow(net, moves, seed)
