"""Weights, padding or groups read wrongly would silently ruin every network."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from .conftest import NEWEST, Check, build, kinds, op, values

CONVS: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((1, 4, 9, 8), (6, 4, 3, 3), {}),
    ((2, 4, 9, 8), (6, 4, 1, 1), {}),
    ((1, 4, 9, 8), (6, 4, 3, 2), {"pads": [1, 0, 2, 1], "strides": [2, 1]}),
    ((1, 4, 9, 8), (6, 4, 3, 3), {"dilations": [2, 3], "pads": [2, 2, 2, 2]}),
    ((1, 4, 9, 8), (8, 2, 3, 3), {"group": 2}),
    ((1, 4, 9, 8), (4, 1, 3, 3), {"group": 4, "pads": [1, 1, 1, 1]}),
    ((1, 4, 9, 8), (8, 1, 3, 3), {"group": 4}),
    ((1, 4, 9, 8), (6, 4, 3, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ((1, 4, 9, 8), (6, 4, 4, 2), {"auto_pad": "SAME_LOWER"}),
    ((1, 4, 9, 8), (6, 4, 3, 3), {"auto_pad": "VALID"}),
    ((1, 4, 17), (6, 4, 5), {"strides": [2], "pads": [2, 1]}),
    ((1, 2, 5, 6, 7), (3, 2, 3, 3, 3), {"pads": [1, 1, 1, 1, 1, 1]}),
]


@pytest.mark.parametrize(("shape", "weight", "attributes"), CONVS)
@pytest.mark.parametrize("opset", [9, NEWEST])
def test_convolutions(
    check: Check,
    shape: tuple[int, ...],
    weight: tuple[int, ...],
    attributes: dict[str, Any],
    opset: int,
) -> None:
    constants = {"w": values(1, *weight), "b": values(2, weight[0])}
    model = build(
        [op("Conv", "x w b", "y", **attributes)], {"x": shape}, ["y"], constants, opset=opset
    )
    graph = check(model)
    assert kinds(graph) == ["Conv"]


@pytest.mark.parametrize(
    ("shape", "weight", "attributes"),
    [
        ((1, 4, 5, 6), (4, 3, 2, 2), {"strides": [2, 2]}),
        ((1, 4, 5, 6), (4, 3, 3, 3), {"strides": [2, 2], "pads": [1, 0, 1, 2]}),
        ((1, 4, 5, 6), (4, 3, 3, 3), {"strides": [2, 2], "output_padding": [1, 1]}),
        ((1, 4, 5, 6), (4, 3, 3, 3), {"group": 2, "dilations": [2, 1]}),
        ((1, 4, 5, 6), (4, 1, 4, 4), {"group": 4, "strides": [2, 2], "pads": [1, 1, 1, 1]}),
        ((1, 4, 5, 6), (4, 3, 3, 3), {"strides": [2, 2], "output_shape": [10, 12]}),
        ((1, 4, 5, 6), (4, 3, 3, 3), {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
        ((1, 4, 5, 6), (4, 3, 3, 3), {"strides": [2, 2], "auto_pad": "SAME_LOWER"}),
        ((1, 4, 5, 6), (4, 3, 3, 3), {"auto_pad": "VALID"}),
        ((1, 4, 11), (4, 3, 5), {"strides": [3]}),
    ],
)
def test_transposed_convolutions(
    check: Check, shape: tuple[int, ...], weight: tuple[int, ...], attributes: dict[str, Any]
) -> None:
    outputs = weight[1] * attributes.get("group", 1)
    constants = {"w": values(1, *weight), "b": values(2, outputs)}
    model = build([op("ConvTranspose", "x w b", "y", **attributes)], {"x": shape}, ["y"], constants)
    assert kinds(check(model)) == ["ConvTranspose"]


def test_a_convolution_with_a_computed_bias_adds_it(check: Check) -> None:
    nodes = [op("Relu", "b", "bias"), op("Conv", "x w bias", "y")]
    check(build(nodes, {"x": (1, 4, 5, 6), "b": (3,)}, ["y"], {"w": values(1, 3, 4, 3, 3)}))


def test_a_convolution_with_computed_weights_is_an_fallback(check: Check) -> None:
    inputs = {"x": (1, 4, 5, 6), "w": (3, 4, 3, 3)}
    graph = check(build([op("Conv", "x w", "y")], inputs, ["y"]), fallbacks=True)
    assert kinds(graph) == ["Fallback"]


@pytest.mark.parametrize(
    "attributes", [{}, {"transA": 1}, {"transB": 1}, {"alpha": 0.5, "beta": 2.0}]
)
@pytest.mark.parametrize("bias", [None, (7,), (1, 7), (1,), (5, 7), (5, 1), ()])
def test_gemm(check: Check, attributes: dict[str, Any], bias: tuple[int, ...] | None) -> None:
    shape = (4, 5) if attributes.get("transA") else (5, 4)
    weight = (7, 4) if attributes.get("transB") else (4, 7)
    constants = {"w": values(1, *weight)}
    if bias is not None:
        constants["c"] = values(2, *bias)
    names = "x w c" if bias is not None else "x w"
    model = build([op("Gemm", names, "y", **attributes)], {"x": shape}, ["y"], constants, opset=13)
    assert "Linear" in kinds(check(model))


def test_gemm_of_computed_operands(check: Check) -> None:
    inputs = {"a": (5, 4), "b": (7, 4), "c": (5, 7)}
    node = op("Gemm", "a b c", "y", transB=1, alpha=0.5, beta=2.0)
    assert "MatMul" in kinds(check(build([node], inputs, ["y"])))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((5, 4), (4, 7)),
        ((2, 3, 4), (4, 7)),
        ((2, 3, 4), (1, 4, 7)),
        ((3, 4), (1, 1, 4, 7)),
        ((2, 3, 4), (2, 4, 7)),
        ((3, 4), (4,)),
        ((4,), (4, 7)),
        ((4,), (4,)),
        ((4,), (2, 4, 7)),
    ],
)
@pytest.mark.parametrize("fixed", ["left", "right", "neither"])
def test_matmul(check: Check, left: tuple[int, ...], right: tuple[int, ...], fixed: str) -> None:
    """A constant on the right becomes a reuse layer, also with leading axes of size 1."""
    inputs = {"a": left, "b": right}
    constants = {}
    if fixed != "neither":
        name = "a" if fixed == "left" else "b"
        constants = {name: values(3, *inputs.pop(name))}
    check(build([op("MatMul", "a b", "y")], inputs, ["y"], constants))


def test_matmul_with_a_constant_matrix_on_either_side_is_a_reuse_layer(check: Check) -> None:
    nodes = [op("MatMul", "x w", "h"), op("MatMul", "v h", "y")]
    constants = {"w": values(1, 4, 6), "v": values(2, 5, 3)}
    graph = check(build(nodes, {"x": (2, 3, 4)}, ["y"], constants))
    assert len(list(graph.reuse_layers())) == 2


def test_a_bias_added_behind_a_matmul_is_folded(check: Check) -> None:
    nodes = [op("MatMul", "x w", "h"), op("Add", "b h", "y")]
    constants = {"w": values(1, 4, 6), "b": values(2, 6)}
    graph = check(build(nodes, {"x": (2, 3, 4)}, ["y"], constants))
    assert kinds(graph) == ["Linear"]


@pytest.mark.parametrize("kind", ["Conv", "ConvTranspose"])
@pytest.mark.parametrize("groups", [1, 2])
def test_batch_norm_is_folded_into_the_layer_before(check: Check, kind: str, groups: int) -> None:
    weight = (6, 4 // groups, 3, 3) if kind == "Conv" else (4, 6 // groups, 3, 3)
    nodes = [op(kind, "x w", "h", group=groups), op("BatchNormalization", "h s b m v", "y")]
    constants = {"w": values(1, *weight), "s": values(2, 6), "b": values(3, 6), "m": values(4, 6)}
    constants["v"] = np.abs(values(5, 6)) + 0.1
    graph = check(build(nodes, {"x": (1, 4, 7, 8)}, ["y"], constants))
    assert kinds(graph) == [kind]
