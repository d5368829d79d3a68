"""A layer may stop keeping accumulators and begin again; neither changes a bit of any output."""

from __future__ import annotations

import numpy as np
import pytest

from mquans import _native
from mquans.engine import lowering
from mquans.engine.session import Session
from mquans.engine.stream import Stream
from mquans.errors import MquansError
from mquans.graph import Conv, Graph, Node
from mquans.importers import import_model, read_model, to_onnx
from mquans.plan import LayerPlan

from .builders import plan_of, typed
from .reference import Floats

SHAPE = (1, 16, 24, 24)


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> list[Session]:
    """Two 3x3 convolutions; each way to run them, with costs that are the same everywhere."""
    monkeypatch.setattr(lowering, "machine_costs", lambda _: _native.CostModel())
    rng = np.random.default_rng(3)
    op = Conv((3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1, None)
    constants = {
        "v": rng.normal(size=(16, 16, 3, 3)).astype(np.float32),
        "w": rng.normal(size=(8, 16, 3, 3)).astype(np.float32) / 12,
    }
    nodes = [Node("first", op, ("x", "v"), ("h",)), Node("second", op, ("h", "w"), ("y",))]
    graph = typed(Graph("net", ("x",), ("y",), nodes, constants), {"x": SHAPE})
    model = to_onnx(graph).SerializeToString()
    layers = [
        LayerPlan(name=node.name, delta=1 / 512, bits=8, weight_bits=16)
        for node in import_model(read_model(model)).reuse_layers()
    ]
    plan = plan_of(model, layers)
    return [Session(model, plan, mode=mode) for mode in ("auto", "delta", "dense")]


def keeps(stream: Stream) -> bool:
    """Whether the first layer has accumulators to plant a fault in (planted twice, it is none)."""
    layer = stream.stats.layers[0].name
    try:
        for _ in range(2):
            stream.flip_bit(layer, 0, 0)
    except MquansError:
        return False
    return True


def test_accumulators_come_and_go_without_a_trace(sessions: list[Session]) -> None:
    """Storm, calm and storm again: the stream in mode auto forgets and regains accumulators."""
    rng = np.random.default_rng(0)
    frame: Floats = rng.normal(size=SHAPE).astype(np.float32)
    auto, *others = [session.stream() for session in sessions]
    kept = []
    for index in range(70):
        if 20 <= index < 50:
            row, column = rng.integers(0, 24, 2)
            frame[0, 3, row, column] += 1
        else:
            frame = rng.normal(size=SHAPE).astype(np.float32)
        expected = auto.step(frame)["y"].tobytes()
        for other in others:
            assert other.step(frame)["y"].tobytes() == expected, index
        assert auto.check() is None, index
        kept.append(keeps(auto))
    assert kept[0]
    assert not kept[19]
    assert kept[49]
    assert not kept[69]


def test_a_stream_without_accumulators_is_saved_and_copied(sessions: list[Session]) -> None:
    """What follows from the held values need not be kept to go on."""
    rng = np.random.default_rng(1)
    frames = rng.normal(size=(16, *SHAPE)).astype(np.float32)
    stream = sessions[0].stream()
    for frame in frames[:12]:
        stream.step(frame)
    assert not keeps(stream)
    copies = [stream.clone(), sessions[0].restore(stream.save())]
    for frame in frames[12:]:
        expected = stream.step(frame)["y"].tobytes()
        assert [copy.step(frame)["y"].tobytes() for copy in copies] == [expected] * 2
