"""Sound spans more than codes do: a convolution over time as a product in floats is the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mquans.errors import PlanError
from mquans.graph import Conv, MatMul, Unary, in_floats, infer, is_over_time
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
    with pytest.raises(PlanError, match="'y' in floats, which is no convolution over time"):
        in_floats(graph, ["y"])
