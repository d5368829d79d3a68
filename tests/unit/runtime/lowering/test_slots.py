"""What is put behind one another is written there, lest every stream holds it twice."""

from __future__ import annotations

import numpy as np

import mquans
from mquans.graph import Concat, Conv, Graph, Node, Operator, Reshape, ValueType, infer
from mquans.onnx import to_onnx


def scales(*, joined: bool) -> bytes:
    """Results of two layers, as one tensor of sites or as two."""
    rng = np.random.default_rng(0)
    conv = Conv((1, 1), (1, 1), (0,) * 4, (1, 1))
    rows: list[tuple[Operator, tuple[str, ...], str]] = [
        (conv, ("x", "w"), "a"),
        (conv, ("z", "w"), "b"),
        (Reshape((1, 16, 4096)), ("a",), "c"),
        (Reshape((1, 16, 1024)), ("b",), "d"),
    ]
    if joined:
        rows.append((Concat(2), ("c", "d"), "y"))
    nodes = [Node(made, op, inputs, (made,)) for op, inputs, made in rows]
    weight = rng.normal(size=(16, 3, 1, 1)).astype(np.float32)
    outputs = ("y",) if joined else ("c", "d")
    graph = Graph("scales", ("x", "z"), outputs, nodes, {"w": weight})
    graph.types = {"x": ValueType((1, 3, 64, 64)), "z": ValueType((1, 3, 32, 32))}
    graph.types = infer(graph)
    return to_onnx(graph)


def test_scales_behind_each_other_are_held_once() -> None:
    rng = np.random.default_rng(1)
    frames = [
        {
            name: rng.normal(size=(1, 3, n, n)).astype(np.float32)
            for name, n in (("x", 64), ("z", 32))
        }
        for _ in range(4)
    ]
    held, outputs = [], []
    for joined in (True, False):
        model = scales(joined=joined)
        with mquans.Session(model, mquans.calibrate(model, frames, bits=12)).stream() as stream:
            for frame in frames:
                last = stream.step(frame)
            held.append(stream.state_bytes)
            outputs.append(np.concatenate(list(last.values()), axis=2))
    np.testing.assert_array_equal(*outputs)
    assert held[0] < 1.05 * held[1]
