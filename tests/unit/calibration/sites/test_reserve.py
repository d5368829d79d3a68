"""Channels that were quiet on the calibration's clip fire on others: codes that end just above what
was seen cut them off, in trained detectors with errors of some percent."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from tests.laws.strategies import SEEDS, examples

import mquans
from mquans.calibration.sites.reserve import GROWTH, weights_of_errors, with_reserve
from mquans.graph import Concat, Conv, Gather, Graph, Node, Slice, Unary, ValueType, infer
from mquans.runtime.lowering.sites import analyse

POINT = Conv((1, 1), (1, 1), (0,) * 4, (1, 1))
DEPTHWISE = Conv((3, 3), (1, 1), (1,) * 4, (1, 1), groups=4)
RNG = np.random.default_rng(0)
WEIGHTS = {
    "first": RNG.normal(size=(4, 3, 1, 1)), "w": RNG.normal(size=(5, 4, 1, 1)),
    "d": RNG.normal(size=(4, 1, 3, 3)), "wide": RNG.normal(size=(5, 7, 1, 1)),
    "two": RNG.normal(size=(5, 2, 1, 1)), "g": RNG.normal(size=(6, 2, 1, 1)),
}  # fmt: skip


def square(name: str) -> np.ndarray:
    """Sums of squared weights by input channel."""
    return np.square(WEIGHTS[name]).sum(axis=(0, 2, 3))


CASES: dict[str, tuple[list[tuple[Any, str, str]], np.ndarray]] = {
    "a layer": ([(POINT, "a w", "y")], square("w")),
    "a function": ([(Unary("relu"), "a", "r"), (POINT, "r w", "y")], square("w")),
    "a depthwise layer": (
        [(DEPTHWISE, "a d", "b"), (POINT, "b w", "y")],
        np.square(WEIGHTS["d"]).sum(axis=(1, 2, 3)) * square("w") / square("w").mean(),
    ),
    "groups": (
        [(Conv((1, 1), (1, 1), (0,) * 4, (1, 1), groups=2), "a g", "y")],
        np.square(WEIGHTS["g"]).reshape(2, 3, 2).sum(axis=1).reshape(-1),
    ),
    "two layers": ([(POINT, "a w", "y"), (POINT, "a w", "z")], square("w")),
    "a part": (
        [(Slice((0, 1, 0, 0), (1, 3, 5, 6), (1,) * 4), "a", "b"), (POINT, "b two", "y")],
        np.array([0, *square("two"), 0]),
    ),
    "channels picked": (
        [(Gather(1, (3, 3)), "a", "b"), (POINT, "b two", "y")],
        np.array([0, 0, 0, square("two").sum()]),
    ),
    "a concatenation": (
        [(Concat(1), "x a", "c"), (POINT, "c wide", "y")], square("wide")[3:],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_weights_are_those_of_the_layers_behind(case: str) -> None:
    rows, expected = CASES[case]
    rows = [(POINT, "x first", "a"), *rows]
    nodes = [Node(made, op, tuple(names.split()), (made,)) for op, names, made in rows]
    outputs = tuple(made for _, _, made in rows if made in "yz")
    arrays = {name: array.astype(np.float32) for name, array in WEIGHTS.items()}
    graph = Graph("net", ("x",), outputs, nodes, arrays, {"x": ValueType((1, 3, 5, 6))})
    graph.types = infer(graph)
    found = weights_of_errors(graph, analyse(graph))["a"]
    np.testing.assert_allclose(found, expected / expected.mean(), rtol=1e-5)


@examples(200)
@given(channels=st.integers(1, 40), spread=st.integers(0, 12), seed=SEEDS)
def test_reserve_costs_no_more_than_it_may(channels: int, spread: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    exponents = rng.integers(-spread - 3, -2, channels)
    weights = rng.exponential(size=channels) ** rng.choice([0, 1, 4])
    weights[rng.random(channels) < 0.1] = 0
    found = with_reserve(exponents, weights)
    assert (found >= exponents).all()
    assert found.max() == exponents.max()
    errors = [(np.exp2(2.0 * each) * weights).sum() for each in (found, exponents)]
    assert errors[0] <= GROWTH * errors[1] * (1 + 1e-9)
    # What nobody sees costs nothing.
    assert (found[weights == 0] == exponents.max()).all()


def test_a_channel_that_was_quiet_may_fire() -> None:
    """Eighty times as much as calibration saw, which its codes would hold four times."""
    rng = np.random.default_rng(1)
    first = np.eye(4).reshape(4, 4, 1, 1)
    second = rng.normal(size=(6, 4, 1, 1))
    nodes = [
        helper.make_node("Conv", ["x", "first"], ["a"]),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("Conv", ["r", "second"], ["y"]),
    ]
    x, y = (
        helper.make_tensor_value_info(*each) for each in (("x", 1, (1, 4, 6, 6)), ("y", 1, None))
    )
    arrays = {"first": first, "second": second}
    graph = helper.make_graph(
        nodes, "quiet", [x], [y],
        [numpy_helper.from_array(array.astype(np.float32), key) for key, array in arrays.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    data = model.SerializeToString()
    frames = [rng.uniform(0, 1, (1, 4, 6, 6)).astype(np.float32) for _ in range(6)]
    for frame in frames:
        frame[:, 0] /= 80
    plan = mquans.calibrate(data, frames, bits=12, stress=False)
    loud = rng.uniform(0, 1, (1, 4, 6, 6)).astype(np.float32)
    (expected,) = onnxruntime.InferenceSession(data).run(None, {"x": loud})
    found = mquans.Session(data, plan).stream().step(loud)["y"]
    np.testing.assert_allclose(found, expected, atol=2e-3)
