"""Heads of one or two outputs cost as much as one of eight, each: YuNet has twelve, twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from mquans.graph import Binary, Conv, Graph, Slice, Unary
from mquans.graph.rewrites import rewrite
from mquans.graph.rewrites.merge_layers import merge_layers

from .conftest import make_graph, random

ONE = Conv((1, 1), (1, 1), (0,) * 4, (1, 1))
RELU = Unary("relu")


def depthwise(channels: int) -> Conv:
    return Conv((3, 3), (1, 1), (1,) * 4, (1, 1), channels)


def heads(outputs: Sequence[int], *, behind: bool = False, ops: Sequence[Conv] = ()) -> Graph:
    """Layers that read x, some of them with a bias, and perhaps depthwise ones behind them."""
    rows: list[tuple[Any, str, str]] = []
    constants: dict[str, Any] = {}
    for i, count in enumerate(outputs):
        constants[f"w{i}"] = random(count, 24, 1, 1, seed=i)
        bias = f" b{i}" if i % 2 else ""
        if bias:
            constants[f"b{i}"] = random(count, seed=i)
        op = ops[i] if ops else ONE
        rows.append((op, f"x w{i}{bias}", f"{'h' if behind else 'y'}{i}"))
        if behind:
            constants[f"d{i}"] = random(count, 1, 3, 3, seed=9 + i)
            rows.append((depthwise(count), f"h{i} d{i}", f"y{i}"))
    names = [f"y{i}" for i in range(len(outputs))]
    return make_graph(rows, {"x": (1, 24, 5, 7)}, names, constants)


def layers(graph: Graph) -> list[str]:
    return [node.name for node in graph.nodes if isinstance(node.op, Conv)]


def test_small_heads_are_one_layer(keeps_values: Callable[..., bool]) -> None:
    """Together they take a block of sixteen instead of forty outputs; of large ones nothing is
    gained."""
    graph = heads([1, 32, 4, 10])
    assert keeps_values(merge_layers, graph)
    assert layers(graph) == ["y0+y2+y3", "y1"]


def test_depthwise_layers_behind_them_too(keeps_values: Callable[..., bool]) -> None:
    graph = heads([1, 4, 1, 10], behind=True)
    assert keeps_values(merge_layers, graph)
    assert len(layers(rewrite(graph))) == 2


@pytest.mark.parametrize("scaled", [1, 2])
def test_scalings_behind_all_of_them_are_one(
    keeps_values: Callable[..., bool], scaled: int
) -> None:
    """Heads of quantized networks are counted in steps, each its own: as numbers of the channels
    they are part of what makes floats of codes."""
    rows: list[tuple[Any, str, str]] = [(ONE, "x w0", "a"), (ONE, "x w1", "b")]
    rows += [(Binary("mul"), "a s", "y")]
    if scaled == 2:
        rows += [(Binary("mul"), "t b", "z")]
    constants = {"w0": random(2, 24, 1, 1), "w1": random(4, 24, 1, 1, seed=1), "s": 0.5, "t": 3.0}
    graph = make_graph(rows, {"x": (1, 24, 5, 7)}, ["y", "z" if scaled == 2 else "b"], constants)
    assert keeps_values(merge_layers, graph)
    products = [node for node in graph.nodes if isinstance(node.op, Binary)]
    assert [graph.shape(node.outputs[0])[1] for node in products] == [6 if scaled == 2 else 2]


@pytest.mark.parametrize(
    "graph",
    [
        pytest.param(heads([8, 8]), id="nothing saved"),
        pytest.param(heads([2, 2], ops=[ONE, replace(ONE, pads=(1,) * 4)]), id="other geometry"),
        pytest.param(
            heads([2, 2], ops=[ONE, replace(ONE, activation=RELU)]), id="other activation"
        ),
        pytest.param(heads([3]), id="alone"),
    ],
)
def test_others_are_left_alone(graph: Graph, keeps_values: Callable[..., bool]) -> None:
    assert not keeps_values(merge_layers, graph)


def test_depthwise_layers_of_a_half_are_left_alone(keeps_values: Callable[..., bool]) -> None:
    """Shuffled networks compute one half of the channels and pass the other on."""
    rows = [
        (Slice((0, 0, 0, 0), (1, 4, 6, 6), (1,) * 4), "x", "a"),
        (Slice((0, 4, 0, 0), (1, 8, 6, 6), (1,) * 4), "x", "b"),
        (depthwise(4), "a w", "y"),
    ]
    graph = make_graph(rows, {"x": (1, 8, 6, 6)}, ["y", "b"], {"w": random(4, 1, 3, 3)})
    assert not keeps_values(merge_layers, graph)


def test_depthwise_layers_of_one_value_stay_two(keeps_values: Callable[..., bool]) -> None:
    """Side by side they would need its channels twice: NASNet was refused."""
    constants = {f"w{i}": random(22, 1, 3, 3, seed=i) for i in range(2)}
    rows: list[tuple[Any, str, str]] = [(depthwise(22), f"x w{i}", f"y{i}") for i in range(2)]
    graph = make_graph(rows, {"x": (1, 22, 5, 7)}, ["y0", "y1"], constants)
    assert not keeps_values(merge_layers, graph)
    assert layers(graph) == ["y0", "y1"]
