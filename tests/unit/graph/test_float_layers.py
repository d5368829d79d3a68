"""Sound spans more than codes do: a convolution over time as a product in floats is the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mquans.errors import PlanError
from mquans.graph import (
    Binary,
    Conv,
    Linear,
    MatMul,
    Reduce,
    Softmax,
    Transpose,
    Unary,
    in_floats,
    infer,
    is_over_time,
    layers_before_logarithms,
)
from mquans.runtime.reference.interpreter import ReferenceNetwork

from .conftest import make_graph, random


@settings(max_examples=40, deadline=None)
@given(
    space=st.integers(1, 2),
    taps=st.integers(1, 4),
    stride=st.integers(1, 3),
    pads=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    dilation=st.integers(1, 3),
    rows=st.integers(1, 2),
    activation=st.sampled_from([None, Unary("gelu")]),
    bias=st.booleans(),
)
def test_windows_times_weights_are_the_convolution(
    space: int, taps: int, stride: int, pads: tuple[int, int], dilation: int, rows: int,
    activation: Unary | None, bias: bool,
) -> None:  # fmt: skip
    """Of any geometry, also as [B, C, 1, T] that converters write it."""
    ones = (1,) * (space - 1)
    op = Conv(
        (*ones, taps), (*ones, stride), (*(0 for _ in ones), pads[0], *(0 for _ in ones), pads[1]),
        (*ones, dilation), activation=activation,
    )  # fmt: skip
    constants = {"w": random(5, 3, *ones, taps), "b": random(5)}
    read = "x w b" if bias else "x w"
    graph = make_graph([(op, read, "y")], {"x": (rows, 3, *ones, 13)}, ["y"], constants)
    made = in_floats(graph, ["y"])
    assert [type(node.op) for node in made.nodes].count(MatMul) == 1
    assert not any(isinstance(node.op, Conv) for node in made.nodes)
    assert infer(made) == made.types
    x = {"x": random(rows, 3, *ones, 13, seed=1)}
    found, expected = (ReferenceNetwork(each).run(x)["y"] for each in (made, graph))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("op", "shape"),
    [
        (Conv((3, 3), (1, 1), (1,) * 4, (1, 1)), (1, 4, 6, 6)),
        (Conv((1, 3), (1, 1), (0,) * 4, (1, 1)), (1, 4, 6, 6)),
        (Conv((3,), (1,), (0, 0), (1,), groups=4), (1, 4, 6)),
    ],
)
def test_other_convolutions_keep_their_codes(op: Conv, shape: tuple[int, ...]) -> None:
    """Pictures have no silence, and groups are no product."""
    weight = random(4, 4 // op.groups, *op.kernel)
    graph = make_graph([(op, "x w", "y")], {"x": shape}, ["y"], {"w": weight})
    assert not is_over_time(graph, graph.nodes[0])
    with pytest.raises(
        PlanError, match="'y' in floats, which is no convolution over time and no linear"
    ):
        in_floats(graph, ["y"])


@pytest.mark.parametrize("shape", [(5, 7), (2, 3, 7), (1, 2, 3, 7)])
@pytest.mark.parametrize("activation", [None, Unary("relu")])
@pytest.mark.parametrize("read", ["x w", "x w b"])
def test_a_product_without_codes_is_the_linear_layer(
    shape: tuple[int, ...], activation: Unary | None, read: str
) -> None:
    constants = {"w": random(7, 4), "b": random(4)}
    graph = make_graph([(Linear(activation), read, "y")], {"x": shape}, ["y"], constants)
    made = in_floats(graph, ["y"])
    assert [node.name for node in made.nodes][-1] == "y"
    assert not any(node.is_reuse for node in made.nodes)
    assert infer(made) == made.types
    x = {"x": random(*shape, seed=1)}
    found, expected = (ReferenceNetwork(each).run(x)["y"] for each in (made, graph))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


OVER_TIME = Conv((4,), (2,), (0, 0), (1,))
FLOOR = Unary("clip", (-1e-10, np.inf))
SQUARE, LOG, ROWS = Binary("mul"), Unary("log"), Transpose((0, 2, 1))
SPECTRUM = [(OVER_TIME, "x k", "s"), (SQUARE, "s s", "p"), (ROWS, "p", "r")]


@pytest.mark.parametrize(
    ("rows", "names"),
    [
        ([*SPECTRUM, (Linear(), "r w", "m"), (LOG, "m", "y")], ["s", "m"]),
        ([*SPECTRUM, (Reduce("sum", (2,), True), "r", "m"), (LOG, "m", "y")], ["s"]),
        ([*SPECTRUM, (Linear(FLOOR), "r w", "m"), (LOG, "m", "y")], ["s", "m"]),
        # Layers of a network that learns, up to its loss.
        ([*SPECTRUM, (Linear(Unary("relu")), "r w", "m"), (LOG, "m", "y")], []),
        ([*SPECTRUM, (Linear(Unary("clip", (0, 6))), "r w", "m"), (LOG, "m", "y")], []),
        # Behind a logarithm nothing is quiet any more.
        ([(LOG, "x", "l"), (OVER_TIME, "l k", "y")], []),
        ([*SPECTRUM, (Linear(), "r w", "y")], []),
        # A classifier's logarithms of shares.
        ([*SPECTRUM, (Linear(), "r w", "m"), (Softmax(2), "m", "q"), (LOG, "q", "y")], []),
        ([*SPECTRUM, (Linear(Unary("sigmoid")), "r w", "m"), (LOG, "m", "y")], []),
    ],
)
def test_what_a_logarithm_hears(rows: list[Any], names: list[str]) -> None:
    constants = {"k": random(3, 2, 4), "w": random(3, 5)}
    graph = make_graph(rows, {"x": (1, 2, 12)}, ["y"], constants)
    assert [node.name for node in layers_before_logarithms(graph)] == names
