"""An activation that is not recognised costs three passes over its values and cannot be fused."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mquans.graph import Binary, Conv, Unary, rewrite

from .conftest import make_graph, random

Keeps = Callable[..., bool]
RELU = Unary("relu")
IMAGE = {"x": (1, 4, 6, 5)}
CONV = Conv((3, 3), (1, 1), (0, 0, 0, 0), (1, 1))

SIGMOID, CLIP6 = Unary("sigmoid"), Unary("clip", (0.0, 6.0))
MUL, ADD, DIV = Binary("mul"), Binary("add"), Binary("div")
NUMBERS = {
    "half": 0.5, "one": 1.0, "three": 3.0, "six": 6.0, "sixth": 0.16666667, "root": math.sqrt(2),
    "inverse": math.sqrt(0.5), "cubic": 0.044715, "tau": math.sqrt(2 / math.pi),
}  # fmt: skip
PATTERNS: dict[str, tuple[list[tuple[Any, str, str]], Unary]] = {
    "silu": ([(SIGMOID, "h", "s"), (MUL, "h s", "y")], Unary("silu")),
    "silu turned": ([(SIGMOID, "h", "s"), (MUL, "s h", "y")], Unary("silu")),
    "hard swish": (
        [(ADD, "h three", "a"), (CLIP6, "a", "c"), (MUL, "h c", "m"), (DIV, "m six", "y")],
        Unary("hard_swish"),
    ),
    "hard swish by a factor": (
        [(ADD, "three h", "a"), (CLIP6, "a", "c"), (MUL, "c sixth", "m"), (MUL, "m h", "y")],
        Unary("hard_swish"),
    ),
    "hard swish of a hard sigmoid": (
        [(Unary("hard_sigmoid", (1 / 6, 0.5)), "h", "s"), (MUL, "h s", "y")],
        Unary("hard_swish"),
    ),
    "hard sigmoid": (
        [(ADD, "h three", "a"), (CLIP6, "a", "c"), (DIV, "c six", "y")],
        Unary("hard_sigmoid", (1 / 6, 0.5)),
    ),
    "mish": (
        [(Unary("softplus"), "h", "p"), (Unary("tanh"), "p", "t"), (MUL, "h t", "y")],
        Unary("mish"),
    ),
    "gelu": (
        [
            (DIV, "h root", "d"), (Unary("erf"), "d", "e"), (ADD, "e one", "a"),
            (MUL, "h a", "m"), (MUL, "m half", "y"),
        ],
        Unary("gelu"),
    ),
    "gelu halved first": (
        [
            (MUL, "h inverse", "d"), (Unary("erf"), "d", "e"), (ADD, "one e", "a"),
            (MUL, "half h", "m"), (MUL, "m a", "y"),
        ],
        Unary("gelu"),
    ),
    "gelu by tanh": (
        [
            (Binary("pow"), "h three", "p"), (MUL, "p cubic", "k"), (ADD, "h k", "s"),
            (MUL, "s tau", "t"), (Unary("tanh"), "t", "e"), (ADD, "e one", "a"),
            (MUL, "h a", "m"), (MUL, "m half", "y"),
        ],
        Unary("gelu_tanh"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
def test_activations_written_as_products_are_recognised(pattern: str) -> None:
    rows, expected = PATTERNS[pattern]
    graph = make_graph(
        [(CONV, "x w", "h"), *rows], IMAGE, ["y"], {"w": random(6, 4, 3, 3), **NUMBERS}
    )
    layer, *behind = rewrite(graph).nodes
    assert isinstance(layer.op, Conv)
    # Only activations with an integer form are fused.
    activation = behind[0].op if behind else layer.op.activation
    assert isinstance(activation, Unary)
    assert activation.kind == expected.kind
    assert activation.params == pytest.approx(expected.params)
    assert bool(behind) == (expected.kind == "mish")


@pytest.mark.parametrize("pattern", PATTERNS)
def test_activations_of_models_in_float16_are_recognised(pattern: str) -> None:
    """Their constants have eleven bits."""
    rows, expected = PATTERNS[pattern]
    numbers = {name: np.float16(number) for name, number in NUMBERS.items()}
    graph = make_graph(
        [(CONV, "x w", "h"), *rows], IMAGE, ["y"], {"w": random(6, 4, 3, 3), **numbers}
    )
    layer, *behind = rewrite(graph).nodes
    assert (behind[0].op if behind else layer.op.activation).kind == expected.kind  # type: ignore[union-attr]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_recognised_activations_compute_the_same(keeps_values: Keeps, pattern: str) -> None:
    def everything(editor: Any) -> bool:
        rewrite(editor.graph)
        return True

    rows, _ = PATTERNS[pattern]
    graph = make_graph([(RELU, "x", "h"), *rows], IMAGE, ["y"], NUMBERS)
    keeps_values(everything, graph)
    assert len(graph.nodes) == 2


QUICK = [(MUL, "h quick", "a"), (SIGMOID, "a", "s"), (MUL, "h s", "m")]


def test_quick_gelu_is_a_silu_between_layers(keeps_values: Keeps) -> None:
    """CLIP's: its two scalings are part of the weights around it."""
    constants = {"w": random(6, 4, 3, 3), "v": random(2, 6, 1, 1), "quick": 1.702}
    point = Conv((1, 1), (1, 1), (0, 0, 0, 0), (1, 1))
    rows = [(CONV, "x w", "h"), *QUICK, (point, "m v", "y")]
    graph = make_graph(rows, IMAGE, ["y"], constants)

    def everything(editor: Any) -> bool:
        return rewrite(editor.graph) is not None

    assert keeps_values(everything, graph)
    kinds = [type(node.op) for node in graph.nodes]
    assert kinds == [Conv, Conv], kinds
    assert graph.nodes[0].op.activation == Unary("silu")


def test_quick_gelu_whose_gate_is_read_elsewhere_stays() -> None:
    graph = make_graph(QUICK, {"h": (2, 3)}, ["m", "s"], {"quick": 1.702})
    assert len(rewrite(graph).nodes) == 3


@pytest.mark.parametrize(
    "rows",
    [
        [(SIGMOID, "x", "s"), (MUL, "z s", "y")],
        [(ADD, "x one", "a"), (CLIP6, "a", "c"), (MUL, "x c", "m"), (DIV, "m six", "y")],
        [(ADD, "x three", "a"), (CLIP6, "a", "c"), (MUL, "c half", "y")],
        [(Unary("erf"), "x", "e"), (ADD, "e one", "a"), (MUL, "x a", "m"), (MUL, "m half", "y")],
    ],
)
def test_near_misses_are_left_alone(rows: list[tuple[Any, str, str]]) -> None:
    graph = make_graph(rows, {"x": (2, 3), "z": (2, 3)}, ["y"], NUMBERS)
    assert len(rewrite(graph).nodes) == len(rows)
