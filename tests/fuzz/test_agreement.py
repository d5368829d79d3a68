"""Combinations of operators, random ones and those that once were refused or gave wrong answers,
agree with onnxruntime, and reuse changes no bit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from .agreement import disagreement
from .networks import Node, model, node
from .random_networks import random_network

TOGETHER = 25
RNG = np.random.default_rng(0)


@pytest.mark.parametrize("first", range(0, 250, TOGETHER))
def test_random_networks_are_as_on_onnxruntime(first: int) -> None:
    """Seeds can be tried again: `python -m tests.fuzz.agreement --first SEED --count 1`."""
    seeds = range(first, first + TOGETHER)
    wrong = {seed: disagreement(*random_network(seed), seed) for seed in seeds}
    assert {seed: complaint for seed, complaint in wrong.items() if complaint} == {}


def floats(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


CONV = node("Conv", "a w", "y", pads=[1] * 4)

CASES: dict[str, tuple[Sequence[Node], str]] = {
    # Refused in front of a layer, as the first operand has no axes.
    "a number plus a picture": ([node("Add", "two x", "a"), CONV], "y"),
    # Parts that lie in different orders were joined as they lay.
    "a concatenation of channels with a product along the width": (
        [
            node("MatMul", "x square", "b"),
            node("MaxPool", "x", "c", kernel_shape=[3, 3], pads=[1] * 4),
            node("Concat", "b c", "d", axis=1),
            node("Conv", "d w6", "y"),
        ],
        "y b",
    ),
    # The model that calibration runs had another shape than the one it was given.
    "a pool whose last window is left out": (
        [
            node("MaxPool", "x", "a", kernel_shape=[1, 1], strides=[4, 4], ceil_mode=1),
            node("Add", "a small", "b"),
            node("Conv", "b w", "y", pads=[1] * 4),
        ],
        "y",
    ),
    # Both readers were given the ranges of one of them.
    "three numbers that one layer reads as channels and another as vectors": (
        [
            node("ReduceMean", "x axes", "b"),
            node("Mul", "b b", "a"),
            node("MatMul", "a one", "z"),
            CONV,
        ],
        "y z",
    ),
    # The layer behind the product took up the factor twice.
    "a scaled square of a matrix": (
        [node("Conv", "x w", "y"), node("MatMul", "y y", "b"), node("Mul", "b two", "z")],
        "z",
    ),
    # Windows reached over the border of the tensor.
    "a convolution of what is also joined along the width": (
        [
            node("Mul", "x x", "a"),
            CONV,
            node("Concat", "a x", "b", axis=3),
            node("MatMul", "b wide", "z"),
        ],
        "y z",
    ),
    # The quantization read floats that were nowhere.
    "a picture that is quantized for one layer and not for another": (
        [
            node("QuantizeLinear", "x step middle", "q"),
            node("DequantizeLinear", "q step middle", "a"),
            CONV,
            node("Mul", "x factors", "b"),
            node("Conv", "b w", "z"),
        ],
        "y z",
    ),
    # Codes did not reach what is put around.
    "a small picture in a large frame": (
        [node("Mul", "x tiny", "b"), node("Pad", "b pads five", "a"), CONV],
        "y",
    ),
    # Codes of the sum, coarser than planned, were too coarse for the layer that reads it.
    "a difference of equals": ([node("Sub", "x x", "a"), CONV], "y"),
    "a difference of equals behind a function": (
        [
            node("Conv", "x w", "b"),
            node("Sub", "b b", "c"),
            node("Elu", "c", "a"),
            node("MatMul", "a narrow", "y"),
        ],
        "y",
    ),
    "a product with a difference of equals": (
        [node("Sub", "x x", "b"), node("Mul", "b x", "a"), CONV],
        "y",
    ),
    "a multiple of a difference of equals": (
        [node("Sub", "x x", "b"), node("Mul", "b factors", "a"), CONV],
        "y",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_once_was_wrong(case: str) -> None:
    nodes, outputs = CASES[case]
    constants = {
        "two": np.float32(2), "tiny": np.float32(1e-3), "five": np.float32(5),
        "w": 0.3 * floats(4, 3, 3, 3), "w6": floats(4, 6, 1, 1), "square": 0.3 * floats(14, 14),
        "small": floats(1, 1, 4, 4), "one": floats(1, 1), "axes": np.array([2, 3]),
        "wide": 0.2 * floats(28, 6), "pads": np.array([0, 0, 1, 1, 0, 0, 2, 2]),
        "factors": floats(3, 1, 1), "step": np.float32(0.05), "middle": np.uint8(120),
        "narrow": floats(12, 3),
    }  # fmt: skip
    read = {name for one in nodes for name in one.input}
    given = {name: array for name, array in constants.items() if name in read}
    inputs = {"x": (1, 3, 14, 14)}
    assert disagreement(model(nodes, inputs, outputs.split(), given, opset=22), inputs) is None


def test_a_picture_that_the_network_turns_and_joins_with_itself() -> None:
    """Its pixels lay among the channels of the whole, where none are compared: a traceback."""
    nodes = [
        node("Transpose", "x", "t", perm=[0, 3, 1, 2]),
        node("Concat", "t t", "a", axis=1),
        CONV,
    ]
    inputs = {"x": (1, 14, 14, 3)}
    network = model(nodes, inputs, ["y"], {"w": floats(4, 6, 3, 3)}, opset=22)
    assert disagreement(network, inputs) is None
