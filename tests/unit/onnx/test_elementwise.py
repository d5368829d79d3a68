"""A wrong activation or broadcast would give wrong network outputs without any error."""

from __future__ import annotations

import numpy as np
import pytest

from .conftest import NEWEST, Check, build, kinds, op, values

PLAIN = [
    "Relu", "Sigmoid", "Tanh", "Exp", "Abs", "Neg", "Reciprocal", "Erf", "Floor", "Ceil", "Round",
    "Sign", "Softplus", "Softsign", "Sin", "Cos",
]  # fmt: skip


@pytest.mark.parametrize("kind", PLAIN)
@pytest.mark.parametrize("opset", [11, NEWEST])
def test_functions_without_parameters(check: Check, kind: str, opset: int) -> None:
    graph = check(build([op(kind, "x", "y")], {"x": (2, 3, 4)}, ["y"], opset=opset))
    assert len(graph.nodes) == 1


@pytest.mark.parametrize("kind", ["Sqrt", "Log"])
def test_functions_of_positive_numbers(check: Check, kind: str) -> None:
    nodes = [op("Abs", "x", "a"), op(kind, "a", "y")]
    check(build(nodes, {"x": (2, 3, 4)}, ["y"]))


@pytest.mark.parametrize(
    ("kind", "attributes"),
    [
        ("LeakyRelu", {}),
        ("LeakyRelu", {"alpha": 0.2}),
        ("Elu", {}),
        ("Elu", {"alpha": 0.7}),
        ("HardSigmoid", {}),
        ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.4}),
        ("Selu", {}),
        ("Selu", {"alpha": 1.5, "gamma": 1.1}),
        ("Celu", {}),
        ("Celu", {"alpha": 0.5}),
    ],
)
def test_functions_with_parameters(check: Check, kind: str, attributes: dict[str, float]) -> None:
    check(build([op(kind, "x", "y", **attributes)], {"x": (2, 3, 4)}, ["y"]))


@pytest.mark.parametrize("attributes", [{}, {"approximate": "tanh"}])
def test_gelu(check: Check, attributes: dict[str, str]) -> None:
    check(build([op("Gelu", "x", "y", **attributes)], {"x": (2, 30)}, ["y"], opset=20))


@pytest.mark.parametrize(("kind", "opset"), [("HardSwish", 14), ("Mish", 18)])
def test_swish_like_functions(check: Check, kind: str, opset: int) -> None:
    graph = check(build([op(kind, "x", "y")], {"x": (2, 30)}, ["y"], opset=opset), scale=4)
    assert len(graph.nodes) == 1


def test_clip_bounds_as_attributes_of_old_opsets(check: Check) -> None:
    nodes = [op("Clip", "x", "a", min=-1.0, max=1.5), op("Clip", "x", "b", max=0.5)]
    check(build(nodes, {"x": (2, 9)}, ["a", "b"], opset=9))


def test_clip_bounds_as_inputs(check: Check) -> None:
    nodes = [op("Clip", "x low high", "a"), op("Clip", "x - high", "b"), op("Clip", "x", "c")]
    constants = {"low": np.float32(-1), "high": np.float32(0.5)}
    check(build(nodes, {"x": (2, 9)}, ["a", "b", "c"], constants))


@pytest.mark.parametrize("kind", ["Add", "Sub", "Mul", "Div", "Max", "Min"])
@pytest.mark.parametrize("shapes", [((2, 3, 4), (2, 3, 4)), ((2, 3, 4), (3, 1)), ((4,), (2, 3, 4))])
def test_arithmetic_broadcasts(
    check: Check, kind: str, shapes: tuple[tuple[int, ...], tuple[int, ...]]
) -> None:
    check(build([op(kind, "a b", "y")], {"a": shapes[0], "b": shapes[1]}, ["y"]))


@pytest.mark.parametrize("kind", ["Add", "Sub", "Mul", "Div"])
def test_a_constant_on_the_left(check: Check, kind: str) -> None:
    check(build([op(kind, "c x", "y")], {"x": (2, 3, 4)}, ["y"], {"c": values(1, 3, 1)}))


@pytest.mark.parametrize("kind", ["Sum", "Mean", "Max", "Min"])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_any_number_of_operands(check: Check, kind: str, count: int) -> None:
    names = [f"x{i}" for i in range(count)]
    check(build([op(kind, " ".join(names), "y")], dict.fromkeys(names, (2, 3)), ["y"]))


@pytest.mark.parametrize("exponent", [2.0, 0.5, 3.0, -1.0, 1.0])
def test_powers(check: Check, exponent: float) -> None:
    nodes = [op("Abs", "x", "a"), op("Pow", "a e", "y")]
    check(build(nodes, {"x": (2, 3)}, ["y"], {"e": np.float32(exponent)}))


def test_power_of_an_integer_exponent(check: Check) -> None:
    check(build([op("Pow", "x e", "y")], {"x": (2, 3)}, ["y"], {"e": np.array(3)}))


def test_prelu_with_one_slope_and_one_per_channel(check: Check) -> None:
    nodes = [op("PRelu", "x s", "a"), op("PRelu", "x c", "b")]
    constants = {"s": values(1, 1), "c": values(2, 3, 1, 1)}
    graph = check(build(nodes, {"x": (1, 3, 4, 5)}, ["a", "b"], constants))
    assert kinds(graph) == ["Unary:leaky_relu", "Binary:prelu"]
