"""Which inputs were made anew: what is left out can never differ, or a model would miss changes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

import mquans
from mquans.graph import (
    Binary,
    Concat,
    Graph,
    Linear,
    MatMul,
    Node,
    Pool,
    Reshape,
    Softmax,
    Unary,
    ValueType,
)
from mquans_studies.traces.computed import OUTSIDE, ComputedInputs
from mquans_studies.traces.trace import TraceRecorder

Frames = npt.NDArray[np.float32]


def test_values_not_made_anew_do_not_differ(session: mquans.Session, small_frames: Frames) -> None:
    """Whatever lies between layers: every input that changed had been computed."""
    frames = small_frames[:, None].copy()
    frames[5:] = frames[5]
    frames[8:, ..., :4, :4] += 0.5
    recorder = TraceRecorder(session)
    with session.stream() as stream:
        for frame in frames[:10]:
            stream.step(frame)
            recorder.add(stream)
    for index, layer in enumerate(recorder.result().layers):
        activity, shape = layer.activity, layer.shape
        assert (activity.computed >= activity.changed.sum(axis=(1, 2))).all()
        assert (activity.computed <= shape.inputs).all()
        if index == 0:
            assert layer.producers == (OUTSIDE,)
            assert layer.given == shape.inputs
            assert (activity.computed == shape.inputs).all()
        else:
            assert layer.given == 0
            assert activity.computed[0] == shape.inputs, "the first frame"
            assert activity.computed[7] == 0, "nothing moved"
    second = recorder.result().layers[1]
    assert 0 < second.activity.computed[8] < second.shape.inputs, "a corner moved"


def between(*nodes: Node, shapes: dict[str, tuple[int, ...]]) -> ComputedInputs:
    """Two linear layers a [4, 6] and b [4, 6] of the input, nodes that make `out` of them, and a
    layer that reads it."""
    weight = np.ones((3, 6), np.float32)
    last = np.ones((shapes["out"][-1], 2), np.float32)
    layers = [Node(name, Linear(), ("x", "w"), (name,)) for name in "ab"]
    reader = Node("reader", Linear(), ("out", "v"), ("y",))
    known = {"x": (4, 3), "a": (4, 6), "b": (4, 6), "y": (*shapes["out"][:-1], 2)} | shapes
    constants = {"w": weight, "v": last}
    known |= {name: array.shape for name, array in constants.items()}
    types = {name: ValueType(shape) for name, shape in known.items()}
    return ComputedInputs(
        Graph("net", ("x",), ("y",), [*layers, *nodes, reader], dict(constants), types)
    )


def count(computed: ComputedInputs, a: list[int], b: list[int], readers: int = 4) -> int:
    """Inputs of the reader, when these rows of a and b were computed."""
    reached = {}
    for name, rows in (("a", a), ("b", b)):
        reached[name] = np.zeros((1, 4, 1), np.bool_)
        reached[name][0, rows] = True
    reached["reader"] = np.zeros((1, readers, 1), np.bool_)
    return computed.counts(reached)["reader"]


def test_what_operators_pass_on() -> None:
    """A result is new if anything that it is made of is."""
    both = ("a", "b")
    added = between(Node("n", Binary("mul"), both, ("out",)), shapes={"out": (4, 6)})
    assert count(added, [0], [0, 2]) == 2 * 6
    beside = between(Node("n", Concat(1), both, ("out",)), shapes={"out": (4, 12)})
    assert count(beside, [0], [0, 2]) == 3 * 6
    assert beside.producers["reader"] == both
    given = between(Node("n", Concat(1), ("x", "a"), ("out",)), shapes={"out": (4, 9)})
    assert given.given["reader"] == 4 * 3, "what no layer makes"
    assert count(given, [], []) == 4 * 3
    assert given.producers["reader"] == (OUTSIDE, "a")
    sigmoid = between(Node("n", Unary("sigmoid"), ("a",), ("out",)), shapes={"out": (4, 6)})
    assert count(sigmoid, [], [1]) == 0, "sigmoid(0) is not 0, but nobody computed it"
    rows = between(Node("n", Softmax(0), ("a",), ("out",)), shapes={"out": (4, 6)})
    assert count(rows, [3], []) == 4 * 6
    product = between(
        Node("r", Reshape((6, 4)), ("b",), ("t",)),
        Node("n", MatMul(), ("a", "t"), ("out",)),
        shapes={"out": (4, 4), "t": (6, 4)},
    )
    assert count(product, [1], []) == 4
    pooled = between(
        Node("r", Reshape((1, 1, 4, 6)), ("a",), ("p",)),
        Node("m", Pool("average", (2, 2), (2, 2), (0,) * 4, (1, 1)), ("p",), ("q",)),
        Node("s", Reshape((2, 3)), ("q",), ("out",)),
        shapes={"p": (1, 1, 4, 6), "q": (1, 1, 2, 3), "out": (2, 3)},
    )
    assert count(pooled, [1], [], readers=2) == 3
