"""Layers around a recurrence compare time steps with each other, or whole sequences would have to
repeat themselves before anything is saved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from mquans.graph import (
    Binary,
    Concat,
    Graph,
    LayerNorm,
    Linear,
    Pad,
    Recurrence,
    Reduce,
    Reshape,
    Slice,
    Softmax,
    Transpose,
    Unary,
)
from mquans.graph.rewrites.sequences import find_sequences

from .conftest import make_graph, random

Keeps = Callable[..., bool]
STEPS, BATCH, HIDDEN = 6, 2, 3
RNN = Recurrence("rnn", (Unary("tanh"),))


def network(
    *middle: tuple[Any, str, str], steps: int = STEPS, batch: int = BATCH, last: str = "y"
) -> Graph:
    """x -> recurrence -> y -> nodes -> linear layer; weights are square."""
    nodes = [(RNN, "x r", "y h"), *middle, (Linear(), f"{last} w", "z")]
    constants = {"r": random(HIDDEN, HIDDEN), "w": random(HIDDEN, 4), "b": random(HIDDEN, seed=2)}
    constants["g"] = random(HIDDEN, seed=4)
    return make_graph(nodes, {"x": (steps, batch, HIDDEN)}, ["z", "h"], constants)


def batch(graph: Graph) -> dict[str, int]:
    return {node.name: node.op.batch for node in graph.nodes if isinstance(node.op, Linear)}


def test_a_layer_behind_a_recurrence_compares_its_steps(keeps_values: Keeps) -> None:
    graph = network()
    assert keeps_values(find_sequences, graph)
    assert batch(graph) == {"z": BATCH}
    assert not keeps_values(find_sequences, graph)


@pytest.mark.parametrize(
    "middle",
    [
        (Unary("relu"), "y", "m"),
        (Binary("add"), "y b", "m"),
        (Binary("sub"), "b y", "m"),
        (Binary("mul"), "y x", "m"),
        (Reshape((1, STEPS, BATCH, HIDDEN)), "y", "m"),
        (Transpose((0, 1, 2)), "y", "m"),
        (Softmax(2), "y", "m"),
        (LayerNorm(2, 1e-5), "y g b", "m"),
        (Concat(1), "y y", "m"),
        (Slice((0, 1, 0), (STEPS, 2, HIDDEN), (1, 1, 1)), "y", "m"),
        (Pad((0, 1, 0, 0, 0, 0)), "y", "m"),
        (Reduce("mean", (1,), keepdims=True), "y", "m"),
    ],
    ids=lambda node: type(node[0]).__name__,
)
def test_nodes_that_leave_time_alone_are_passed(
    keeps_values: Keeps, middle: tuple[Any, str, str]
) -> None:
    graph = network(middle, last="m")
    assert keeps_values(find_sequences, graph)
    rows = 1
    for size in graph.shape("m")[:-1]:
        rows *= size
    assert batch(graph) == {"z": rows // STEPS}


@pytest.mark.parametrize(
    "middle",
    [
        (Transpose((1, 0, 2)), "y", "m"),
        (Reshape((STEPS * BATCH, HIDDEN)), "y", "m"),
        (Slice((STEPS - 1, 0, 0), (STEPS, BATCH, HIDDEN), (1, 1, 1)), "y", "m"),
        (Slice((STEPS - 1, 0, 0), (-1, BATCH, HIDDEN), (-1, 1, 1)), "y", "m"),
        (Softmax(0), "y", "m"),
        (Concat(0), "y y", "m"),
        (Reduce("mean", (0,), keepdims=True), "y", "m"),
        (Binary("add"), "y h", "m"),
    ],
    ids=lambda node: type(node[0]).__name__,
)
def test_nodes_that_mix_or_move_time_are_not(
    keeps_values: Keeps, middle: tuple[Any, str, str]
) -> None:
    graph = network(middle, last="m")
    assert not keeps_values(find_sequences, graph)
    assert batch(graph) == {"z": 0}


def test_one_step_per_frame_is_no_sequence(keeps_values: Keeps) -> None:
    assert not keeps_values(find_sequences, network(steps=1))


def test_layers_before_a_recurrence_and_beside_it(keeps_values: Keeps) -> None:
    """A batch-first network with a skip connection, as exporters write it."""
    nodes = [
        (Linear(Unary("relu")), "x w1", "a"),
        (Reshape((STEPS, 1, HIDDEN)), "a", "b"),
        (Linear(batch=1), "b w2", "p"),
        (RNN, "p r", "y h"),
        (Reshape((1, STEPS, HIDDEN)), "y", "c"),
        (Binary("add"), "c a", "d"),
        (Linear(), "d w3", "z"),
        (Linear(), "h w3", "last"),
    ]
    constants = {"w1": random(5, HIDDEN), "w2": random(HIDDEN, HIDDEN, seed=1),
                 "r": random(HIDDEN, HIDDEN, seed=2), "w3": random(HIDDEN, 4, seed=3)}  # fmt: skip
    graph = make_graph(nodes, {"x": (1, STEPS, 5)}, ["z", "last"], constants)
    assert keeps_values(find_sequences, graph)
    assert batch(graph) == {"a": 1, "p": 1, "z": 1, "last": 0}
