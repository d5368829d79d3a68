"""`check` is what users are offered as proof; it must find any planted fault and name its place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mquans.runtime.session import available_isas

from .networks import MODELS, network
from .strategies import examples


@pytest.mark.parametrize("isa", available_isas())
@pytest.mark.parametrize("name", MODELS)
@examples(8)
@given(data=st.data())
def test_every_flipped_bit_is_found(name: str, isa: str, data: st.DataObject) -> None:
    """In any layer, however deep, until the stream is recomputed."""
    net = network(name)
    session = net.session(isa=isa)
    stream = session.stream()
    frames = net.frames(1, 2)
    for frame in frames:
        stream.step(frame)
    node = data.draw(st.sampled_from(list(session.graph.reuse_layers())))
    _, acc = stream.layer_state(node.name)
    rows, width, outputs = acc.shape
    row, column, output = (data.draw(st.integers(0, n - 1)) for n in (rows, width, outputs))
    bit = data.draw(st.integers(0, 31))
    groups = getattr(node.op, "groups", 1)
    group, place = divmod(output, outputs // groups)
    padded = -(-(outputs // groups) // 16) * 16
    index = ((row * width + column) * groups + group) * padded + place
    stream.flip_bit(node.name, index, bit)
    found = stream.check()
    assert found is not None
    assert (found.layer, found.position) == (node.name, (row, column, output))
    assert found.expected == acc[row, column, output]
    assert (found.expected ^ found.found) & 0xFFFFFFFF == 1 << bit
    # A frame in which nothing moves does not hide it.
    stream.step(frames[-1])
    assert stream.check() == found
    stream.recompute()
    assert stream.check() is None
