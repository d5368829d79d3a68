"""Windows that overlap are read where the sequence lies: copied, a stream of wav2vec2 held each of
its features three times."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mquans
from mquans.graph import Gather, Graph, MatMul, Node, Operator, Reshape, Unary, ValueType, infer
from mquans.onnx import to_onnx
from mquans.runtime.lowering.windows import Windows, windows_of

STEPS, CHANNELS = 100, 3


def network(places: Any, *, rows: int | None = None, seen: bool = False) -> Graph:
    """Windows of the sequence, as rows that meet a matrix which comes with the frame."""
    places = np.asarray(places)
    rows = rows or len(places)
    width = places.size * CHANNELS // rows
    steps: list[tuple[Operator, tuple[str, ...], str]] = [
        (Unary("relu"), ("x",), "s"),
        (Gather(1, tuple(places.reshape(-1).tolist())), ("s",), "p"),
        (Reshape((1, rows, width)), ("p",), "r"),
        (MatMul(), ("r", "z"), "y"),
    ]
    nodes = [Node(made, op, inputs, (made,)) for op, inputs, made in steps]
    graph = Graph("windows", ("x", "z"), ("y", "r") if seen else ("y",), nodes, {})
    graph.types = {"x": ValueType((1, STEPS, CHANNELS)), "z": ValueType((1, width, 5))}
    graph.types = infer(graph)
    return graph


def places(taps: int, step: int) -> Any:
    starts = np.arange((STEPS - taps) // step + 1) * step
    return starts[:, None] + np.arange(taps)


@pytest.mark.parametrize(("taps", "step"), [(1, 2), (3, 1), (4, 2), (2, 5), (7, 7), (100, 1)])
def test_windows_follow_what_moves_in_them(taps: int, step: int) -> None:
    """Frames of which some steps move, each once at the edge of a window, and none."""
    graph = network(places(taps, step))
    assert windows_of(graph)["r"] == Windows("s", "p", len(places(taps, step)), taps, step)
    model, rng = to_onnx(graph), np.random.default_rng(0)
    first = {name: rng.normal(size=graph.shape(name)).astype(np.float32) for name in ("x", "z")}
    session = mquans.Session(model, mquans.calibrate(model, [first] * 4, bits=12))
    stream, frame = session.stream(), first
    for moved in ([], [0], [STEPS - 1], [], [17, 18], range(40, 60), [step * 3 + taps - 1]):
        x = frame["x"].copy()
        for index in moved:
            x[:, min(index, STEPS - 1)] = rng.normal(size=CHANNELS)
        frame = {"x": x, "z": first["z"]}
        rows = np.maximum(x, 0)[0, places(taps, step)].reshape(len(places(taps, step)), -1)
        found = stream.step(frame)["y"]
        np.testing.assert_allclose(found[0], rows @ frame["z"][0], rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(found, session.stream().step(frame)["y"])


@pytest.mark.parametrize(
    "graph",
    [
        network(places(3, 2)[:, ::-1]),
        network(places(5, 2)[:, ::2]),
        network(places(3, 1) // 2),
        network(places(3, 2), rows=7),
        network(places(3, 2), seen=True),
    ],
)
def test_other_rows_are_copied(graph: Graph) -> None:
    """Backwards, with gaps, twice the same, cut elsewhere, or seen outside."""
    assert not windows_of(graph)
