"""A concatenation of quantized parts is a place, if every part is brought to its steps where it is
made; else two more passes over all of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mquans.graph import Binary, Concat, Conv, Unary, rewrite
from mquans.graph.rewrites.part_quantizations import quantize_parts

from .conftest import make_graph, operators, random

PICTURES = {"x": (1, 4, 6, 6), "z": (1, 2, 6, 6)}
WHOLE = Unary("quantize", (-20.0, 90.0))
POINT = Conv((1, 1), (1, 1), (0,) * 4, (1, 1))
Keeps = Callable[..., bool]


@pytest.mark.parametrize("scaling", [Binary("mul"), Binary("div"), None])
def test_parts_are_quantized(keeps_values: Keeps, scaling: Binary | None) -> None:
    rows = [(Concat(1), "x z", "j"), (WHOLE, "s", "y")]
    rows.insert(1, (scaling, "j f", "s") if scaling else (Concat(1), "x z", "s"))
    graph = make_graph(rows, PICTURES, ["y"], {"f": 0.03})
    assert keeps_values(quantize_parts, graph)
    assert isinstance(graph.producers()["y"].op, Concat)


@pytest.mark.parametrize("outputs", [["y", "j"], ["y", "s"]])
def test_what_is_read_otherwise_stays(keeps_values: Keeps, outputs: list[str]) -> None:
    rows = [(Concat(1), "x z", "j"), (Binary("mul"), "j f", "s"), (WHOLE, "s", "y")]
    assert not keeps_values(quantize_parts, make_graph(rows, PICTURES, outputs, {"f": 0.03}))


def test_parts_that_are_whole_steps_already_are_not_touched(keeps_values: Keeps) -> None:
    """Quantizers give what is concatenated one scale where they can."""
    rows = [
        (POINT, "x w", "a"), (Binary("div"), "a f", "as"), (WHOLE, "as", "aq"),
        (POINT, "z v", "b"), (Binary("div"), "b f", "bs"), (WHOLE, "bs", "bq"),
        (Binary("mul"), "aq f", "ar"), (Binary("mul"), "bq f", "br"),
        (Concat(1), "ar br", "j"), (Binary("div"), "j f", "js"), (WHOLE, "js", "y"),
    ]  # fmt: skip
    constants = {"w": random(3, 4, 1, 1), "v": random(3, 2, 1, 1), "f": 0.0371}
    graph = make_graph(rows, PICTURES, ["y"], constants)
    assert keeps_values(quantize_parts, graph)
    assert [type(op) for op in operators(rewrite(graph))] == [Conv, Conv, Concat]
