"""Detectors join boxes and scores of all scales and take them apart again: two copies of a large
tensor in every frame, and their memory in every stream."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from mquans.graph import Concat, Graph, Reshape, Slice, Unary
from mquans.graph.rewrites import rewrite
from mquans.graph.rewrites.part_concats import part_concats

from .conftest import make_graph

INPUTS = {"box": (1, 4, 2, 3), "score": (1, 2, 2, 3), "box2": (1, 4, 1, 2), "score2": (1, 2, 1, 2)}


def head(
    slices: Sequence[tuple[int, int]], *, also: Sequence[str] = (), shape: tuple[int, ...] = (1, 6)
) -> Graph:
    """Two scales behind each other, and ranges of their channels."""
    rows: list[tuple[Any, str, str]] = [
        (Concat(1), "box score", "a"),
        (Concat(1), "box2 score2", "b"),
        (Reshape((*shape, 36 // shape[0] // shape[1])), "a", "c"),
        (Reshape((*shape, 12 // shape[0] // shape[1])), "b", "d"),
        (Concat(2), "c d", "whole"),
    ]
    sites = 48 // shape[0] // shape[1]
    for i, (start, stop) in enumerate(slices):
        rows.append((Slice((0, start, 0), (1, stop, sites), (1,) * 3), "whole", f"s{i}"))
        rows.append((Unary("sigmoid"), f"s{i}", f"y{i}"))
    return make_graph(rows, INPUTS, [f"y{i}" for i in range(len(slices))] + list(also))


def test_parts_are_read_where_they_are_made(keeps_values: Callable[..., bool]) -> None:
    graph = head([(0, 4), (4, 6)])
    assert keeps_values(part_concats, graph)
    kept = rewrite(graph).nodes
    assert not any(isinstance(node.op, Slice) for node in kept)
    assert [node.inputs for node in kept if isinstance(node.op, Reshape)] == [
        ("box",), ("box2",), ("score",), ("score2",)
    ]  # fmt: skip


@pytest.mark.parametrize(
    "graph",
    [
        pytest.param(head([(0, 3), (3, 6)]), id="across parts"),
        pytest.param(head([(0, 4), (4, 5)]), id="half a part"),
        pytest.param(head([(0, 4), (4, 6)], also=["whole"]), id="whole is put out"),
        pytest.param(head([(0, 2), (2, 3)], shape=(1, 3)), id="channels are cut anew"),
    ],
)
def test_others_are_left_alone(graph: Graph, keeps_values: Callable[..., bool]) -> None:
    """What is read as a whole too would be made twice; other ranges are no part of anything."""
    assert not keeps_values(part_concats, graph)
