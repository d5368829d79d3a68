"""Scales in front of layers; see also `test_rewrites`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mquans.graph import Binary, Conv
from mquans.graph.rewrites.fold_input_affine import fold_input_affine

from .conftest import make_graph, random

PADDED = Conv((3, 3), (1, 1), (1, 1, 1, 1), (1, 1))
IMAGE = {"x": (1, 4, 6, 5)}


@pytest.mark.parametrize("kind", ["mul", "div"])
@pytest.mark.parametrize("outputs", [["y", "z"], ["y", "z", "h"]])
def test_a_scale_goes_into_every_layer_that_reads_it(
    keeps_values: Callable[..., bool], kind: str, outputs: list[str]
) -> None:
    """Quantized values are read by several layers; whoever else reads them still finds them."""
    rows = [
        (Binary(kind), "x s", "h"),  # type: ignore[arg-type]
        (PADDED, "h w", "y"),
        (PADDED, "h w", "z"),
    ]
    graph = make_graph(rows, IMAGE, outputs, {"w": random(6, 4, 3, 3), "s": 0.5})
    assert keeps_values(fold_input_affine, graph)
    layers = [node for node in graph.nodes if node.is_reuse]
    assert [node.inputs[0] for node in layers] == ["x", "x"]
