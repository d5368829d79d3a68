"""Pool windows at the border decide what a network sees there."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import NEWEST, Check, build, kinds, op

GEOMETRIES: list[dict[str, Any]] = [
    {"kernel_shape": [2, 2], "strides": [2, 2]},
    {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]},
    {"kernel_shape": [3, 2], "pads": [1, 0, 2, 1]},
    {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1},
    {"kernel_shape": [2, 2], "strides": [3, 3], "ceil_mode": 1},
    {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1},
    {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
    {"kernel_shape": [2, 2], "strides": [2, 2], "auto_pad": "SAME_LOWER"},
    {"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER", "pads": [0] * 4},  # converters write both
]


@pytest.mark.parametrize("attributes", GEOMETRIES)
@pytest.mark.parametrize("opset", [11, NEWEST])
@pytest.mark.parametrize("shape", [(1, 2, 9, 7), (2, 2, 8, 10)])
def test_max_and_average_pools(
    check: Check, attributes: dict[str, Any], opset: int, shape: tuple[int, ...]
) -> None:
    nodes = [op("MaxPool", "x", "m", **attributes), op("AveragePool", "x", "a", **attributes)]
    check(build(nodes, {"x": shape}, ["m", "a"], opset=opset))


@pytest.mark.parametrize("attributes", GEOMETRIES)
@pytest.mark.parametrize("shape", [(1, 2, 9, 7), (2, 2, 8, 10)])
def test_average_pools_that_count_padding(
    check: Check, attributes: dict[str, Any], shape: tuple[int, ...]
) -> None:
    node = op("AveragePool", "x", "a", count_include_pad=1, **attributes)
    check(build([node], {"x": shape}, ["a"], opset=NEWEST))


def test_dilated_and_one_dimensional_pools(check: Check) -> None:
    dilated = op("MaxPool", "x", "y", kernel_shape=[3, 2], dilations=[2, 3], pads=[1, 1, 1, 1])
    check(build([dilated], {"x": (1, 2, 9, 10)}, ["y"]))
    check(build([op("MaxPool", "x", "y", kernel_shape=[3])], {"x": (1, 2, 9)}, ["y"]))


def test_the_indices_of_a_max_pool_are_an_fallback(check: Check) -> None:
    nodes = [op("MaxPool", "x", "y i", kernel_shape=[2, 2]), op("Cast", "i", "f", to=1)]
    graph = check(build(nodes, {"x": (1, 2, 4, 4)}, ["y", "f"]), fallbacks=True)
    assert kinds(graph) == ["Fallback"]


@pytest.mark.parametrize("kind", ["GlobalAveragePool", "GlobalMaxPool"])
def test_global_pools(check: Check, kind: str) -> None:
    check(build([op(kind, "x", "y")], {"x": (2, 3, 4, 5)}, ["y"]))


def test_zero_padding_before_an_average_pool_is_folded(check: Check) -> None:
    """PyTorch's AvgPool2d exports as a pad and a pool."""
    nodes = [
        op("Pad", "x", "p", pads=[0, 0, 1, 1, 0, 0, 1, 1]),
        op("AveragePool", "p", "y", kernel_shape=[3, 3]),
    ]
    assert kinds(check(build(nodes, {"x": (1, 2, 5, 6)}, ["y"], opset=9))) == ["Pool:average"]
