"""Recomputing computes every layer from its held values and may not change a bit: that is the
proof that reuse itself loses nothing. A keyframe ends all staleness, as if the stream began
anew."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from .builders import same_outputs, same_states
from .networks import MODELS, network
from .strategies import examples

MOMENTS = st.lists(st.booleans(), min_size=8, max_size=8)


@pytest.mark.parametrize("name", MODELS)
@examples(8)
@given(seed=st.integers(0, 1000), moments=MOMENTS, threads=st.integers(1, 2))
def test_refresh_changes_nothing(name: str, seed: int, moments: list[bool], threads: int) -> None:
    net = network(name, "hold" if seed % 2 else "nearest")
    session = net.session(threads=threads)
    plain, recomputed = session.stream(), session.stream()
    for frame, recompute in zip(net.frames(seed, 8), moments, strict=True):
        expected = plain.step(frame)
        same_outputs(recomputed.step(frame), expected)
        if recompute:
            recomputed.recompute()
            same_outputs(recomputed.outputs(), expected)
        same_states(recomputed, plain)


@pytest.mark.parametrize("name", MODELS)
@examples(6)
@given(seed=st.integers(0, 1000), moments=MOMENTS)
def test_snap_is_a_first_frame(name: str, seed: int, moments: list[bool]) -> None:
    net = network(name)
    session = net.session()
    stream = session.stream()
    for frame, keyframe in zip(net.frames(seed, 8), moments, strict=True):
        outputs = stream.step(frame, keyframe=keyframe)
        if keyframe:
            fresh = session.stream()
            same_outputs(outputs, fresh.step(frame))
            same_states(stream, fresh)
            # The stream goes on from there like the fresh one.
            nudged = {key: value * np.float32(1.01) for key, value in frame.items()}
            same_outputs(stream.clone().step(nudged), fresh.step(nudged))


def test_refresh_before_the_first_frame_is_harmless() -> None:
    net = network("mobile")
    stream, plain = net.session().stream(), net.session().stream()
    stream.recompute()
    [frame] = net.frames(1, 1)
    same_outputs(stream.step(frame), plain.step(frame))


@pytest.mark.parametrize("name", MODELS)
def test_refresh_repairs_a_damaged_stream(name: str) -> None:
    net = network(name)
    session = net.session()
    damaged, plain = session.stream(), session.stream()
    first, second, third = net.frames(2, 3)
    for stream in (damaged, plain):
        stream.step(first)
    damaged.flip_bit(damaged.stats.layers[0].name, 0, 30)
    damaged.recompute()
    same_states(damaged, plain)
    for frame in (second, third):
        same_outputs(damaged.step(frame), plain.step(frame))
