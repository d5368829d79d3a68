"""`check` is what users are offered as proof; it must find any planted fault and name its place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mquans.engine.session import available_isas

from .networks import MODELS, network
from .strategies import examples


@pytest.mark.parametrize("isa", available_isas())
@pytest.mark.parametrize("name", MODELS)
@examples(8)
@given(data=st.data())
def test_every_flipped_bit_is_found(name: str, isa: str, data: st.DataObject) -> None:
    """In any layer, however deep, until the stream is refreshed."""
    net = network(name)
    # Left to itself the engine keeps accumulators only where that pays.
    session = net.session(isa=isa, mode="delta")
    stream = session.stream()
    frames = net.frames(1, 2)
    for frame in frames:
        stream.step(frame)
    # Depthwise layers compute what is touched afresh and keep no accumulators.
    keeping = [node for node in session.graph.reuse_layers() if getattr(node.op, "groups", 1) == 1]
    node = data.draw(st.sampled_from(keeping))
    _, acc = stream.layer_state(node.name)
    rows, width, outputs = acc.shape
    row, column, output = (data.draw(st.integers(0, n - 1)) for n in (rows, width, outputs))
    bit = data.draw(st.integers(0, 31))
    padded = -(-outputs // 16) * 16
    stream.flip_bit(node.name, (row * width + column) * padded + output, bit)
    found = stream.check()
    assert found is not None
    assert (found.layer, found.position) == (node.name, (row, column, output))
    assert found.expected == acc[row, column, output]
    assert (found.expected ^ found.found) & 0xFFFFFFFF == 1 << bit
    # A frame in which nothing moves does not hide it.
    stream.step(frames[-1])
    assert stream.check() == found
    stream.refresh()
    assert stream.check() is None
